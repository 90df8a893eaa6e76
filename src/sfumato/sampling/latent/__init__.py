"""The reverse of Gaussian noise: solvers on a grid of times, and what bends a clean prediction.

state x_t ─▶ predict x̂_0 ─▶ guides ─▶ solver ─▶ x_s
"""
