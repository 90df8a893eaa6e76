"""What sfumato is measured against: published algorithms, restated in our own words.

llada        LLaDA's sampler (2502.09992), one row or many
llada2       diffusers' own LLaDA2Pipeline, made to take turns
full_canvas  training losses over logits of the whole canvas, as LLaDA and dLLM have them
"""
