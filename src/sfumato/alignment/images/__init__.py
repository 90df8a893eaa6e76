"""Images by the same alignment: pipelines of diffusers, their likelihood, a discriminator."""
