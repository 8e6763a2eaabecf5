"""Exponential and log(1 + u) that compiled loops over arrays take several elements of at a time.

The functions of the C library are called once for each element; these are arithmetic alone, which a compiler turns into
vector instructions, and which gives the same bits on every processor. In NumPy the functions are NumPy's own.

The exponential is that of Cody & Waite (1980, Software Manual for the Elementary Functions, ch. 6): a multiple of
log 2 is taken out and put in the exponent of the result, and a polynomial does the rest. log(1 + u) for u between 0
and 1 is 2 atanh(u / (2 + u)). The polynomials interpolate at Chebyshev's points (degrees 11 and 19): errors are at most
1 and 2 units in the last place.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic, overload

_EXP = (
    2.510038549551032e-08,
    2.7620088445409746e-07,
    2.7557268459997064e-06,
    2.4801521295954376e-05,
    0.00019841269863053618,
    0.0013888888917213717,
    0.008333333333330062,
    0.04166666666662413,
    0.16666666666666669,
    0.5000000000000001,
)
_ATANH = (
    0.08082022805971766,
    0.04400369243072337,
    0.06000536404795356,
    0.06657072104827468,
    0.07692785032479312,
    0.09090894718066429,
    0.11111111358713932,
    0.1428571428355438,
    0.20000000000007292,
    0.3333333333333333,
)
_PER_LOG_2 = 1.4426950408889634
_LOG_2, _LOG_2_REST = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_TO_WHOLE = 6755399441055744.0
"""1.5 times 2 to the 52nd: a number added to it is rounded to a whole one, which stands in the last bits."""
LEAST, GREATEST = -708.0, 709.0
"""Beyond these an exponential is that of the nearer one: 3e-308 and 8e307."""


def exp(x: Any) -> Any:
    """Exponential, elementwise; NaN where `x` is."""
    return np.exp(x)


def log_of_1_plus(u: Any) -> Any:
    """log(1 + u), elementwise, for u between 0 and 1."""
    return np.log1p(u)


_STRICT = {"fastmath": False, "error_model": "numpy"}


@intrinsic  # type: ignore[untyped-decorator]
def _bits(typing: Any, x: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(numba.types.int64))

    return numba.types.int64(numba.types.float64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _number(typing: Any, bits: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(numba.types.float64))

    return numba.types.float64(numba.types.int64), codegen


@overload(exp, jit_options=_STRICT)  # type: ignore[untyped-decorator]
def _compiled_exp(x: Any) -> Any:
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 = _EXP

    def made(x: Any) -> Any:
        within = GREATEST if x > GREATEST else (LEAST if x < LEAST else x)  # NaN is neither
        shifted = within * _PER_LOG_2 + _TO_WHOLE
        whole = shifted - _TO_WHOLE
        r = (within - whole * _LOG_2) - whole * _LOG_2_REST
        p = c0 * r + c1
        p = p * r + c2
        p = p * r + c3
        p = p * r + c4
        p = p * r + c5
        p = p * r + c6
        p = p * r + c7
        p = p * r + c8
        p = p * r + c9
        p = (p * r * r + r) + 1.0
        # The last bits of `shifted` are the whole number: moved to where a number has its exponent, they multiply by a
        # power of 2.
        return _number(_bits(p) + (_bits(shifted) << 52))

    return made


@overload(log_of_1_plus, jit_options=_STRICT)  # type: ignore[untyped-decorator]
def _compiled_log_of_1_plus(u: Any) -> Any:
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 = _ATANH

    def made(u: Any) -> Any:
        s = u / (2.0 + u)
        z = s * s
        p = c0 * z + c1
        p = p * z + c2
        p = p * z + c3
        p = p * z + c4
        p = p * z + c5
        p = p * z + c6
        p = p * z + c7
        p = p * z + c8
        p = p * z + c9
        return 2.0 * s + 2.0 * s * (z * p)

    return made
