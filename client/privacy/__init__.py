"""What makes a hospital's answers private: the random stream, the discrete Gaussian noise, the noisy release."""
