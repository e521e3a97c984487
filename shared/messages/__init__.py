"""What coordinator and hospital say to each other. One request, one reply, each one record on the wire.

    requests  what a coordinator sends: an invitation, a plan with its task, survivors to confirm and to unmask
    tasks     what a plan's step asks for
    replies   what a hospital answers
    shown     the little that it shows in the clear

A request is bytes from outside: only these records are admitted. Every reply to a plan is stored by the site before it
is sent, so asking again gives the same bytes. Vectors that hold anything about patients travel masked, inside
`Contributed.contribution`; the plain fields are what a hospital shows by its own choice.
"""
