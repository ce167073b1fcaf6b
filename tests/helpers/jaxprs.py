"""What a traced program consists of."""

from jax.extend.core import jaxprs_in_params


def equations(jaxpr, name) -> list:
    """Those of a primitive's name in a jaxpr and inside it whose results are used; the compiler
    drops the others."""
    used = {id(x) for equation in jaxpr.eqns for x in equation.invars} | set(map(id, jaxpr.outvars))
    own = [
        equation for equation in jaxpr.eqns
        if equation.primitive.name == name and used & set(map(id, equation.outvars))
    ]  # fmt: skip
    inner = [jaxprs_in_params(equation.params) for equation in jaxpr.eqns]
    return own + [x for group in inner for one in group for x in equations(one, name)]
