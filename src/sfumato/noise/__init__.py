"""Forward noise on tokens, and what its reverse needs. Tensors in, tensors out.

Text is destroyed by a chain that anyone can run, and a network learns to walk it back:

    t = 0   The cat sat on the mat.
      │     ↓ forward: each token is hit with probability 1 − α(t), and a hit token is redrawn
      │       from the noise law π                         q(x_t | x_0) = α_t·δ_{x_0} + (1 − α_t)·π
      │     ↑ reverse: each token stays, takes the network's x̂₀, or is redrawn from π
    t = 1   tokens of π only

Two choices make a family, and each is one file:

    masked     π = δ_mask    what is wrong is marked, and what is written is kept
    uniform    π = 1/K       nothing is marked, and everything may be revised

Three parts serve both:

    schedules  α(t), its derivative and inverse: how fast the signal goes
    routes     the reverse step as a mixture of stay, clean and noise
    times      which t a training batch sees, and which positions are hit

The network is trained on a bound of −log p(x_0) that needs no sampling of the reverse: an
integral over t of a divergence at each position, estimated by one draw of t and of the hits. A
draw is an object of its own, so two models, or a model and its reference, can be compared on
the same noise. The bound is tight exactly where the network gives the true conditionals; the
N-step sampler then errs by O(1/N), because positions that move together are drawn as if they
were independent. Both statements are tests, on a world of 27 outcomes that can be enumerated.
"""
