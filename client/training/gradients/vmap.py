"""The gradient of one patient, mapped over patients by torch.func: knows every layer that torch can map."""

from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from client.training.gradients.base import Clipped, Loss, Patients
from client.training.gradients.clip import clipped_sum, rows, zeros
from shared.models.layers import Output


class Vmap:
    """The way described above."""

    name = "vmap"

    def fits(self, module: nn.Module) -> bool:
        """Whether no weight is used under two names: it would be taken for two."""
        names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
        return len(names) == len(list(module.parameters()))

    def clipped_sum(self, module: nn.Module, loss: Loss, patients: Patients, clip: float) -> Clipped:
        """See `PatientGradients`."""
        total = zeros(module, patients.images.device)
        weights = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
        if not len(patients.target) or not weights:
            return Clipped(total, 0)

        def mean_loss(weights: dict[str, Tensor], images: Tensor, target: Tensor) -> Tensor:
            output: Tensor | Output = functional_call(module, weights, (images,))  # images [m, C, H, W], target [m, …]
            return loss(output, target).mean()

        found = vmap(grad(mean_loss), in_dims=(None, 0, 0), randomness="different")(
            weights, patients.images, patients.target
        )
        return Clipped(total, clipped_sum(rows(found.values(), module), total, clip=clip, real=patients.real))
