"""Codecs: token ids ↔ vectors that Gaussian noise can work on.

    EmbeddingCodec    a learnt vector a token, read back by its dot products   Diffusion-LM
    EncoderCodec      a frozen encoder's outputs, read back by a transformer   TEncDM
                      or compressed to a few vectors a text                    COSMOS

A vector of an encoder holds its context, so neighbouring vectors agree and a decoder can mend
what the diffusion gets slightly wrong. Whatever is encoded is encoded by itself: an encoder that
saw the text to be written would tell its answer to the condition.
"""
