/* Part of the vector template: exp, tanh and the activations, for one vector at a time.
 *
 * The polynomials were fitted by us (scripted Lawson iteration towards the smallest largest error, coefficients rounded
 * to fp32). Only +, -, *, /, fma, comparisons and shifts of exponents are used: all exactly rounded, hence the same
 * bits on every instruction set. A NaN goes through every function; infinities give the limit.
 */
#ifndef KERNELS_VECTOR_FUNCTIONS_TEMPLATE_H
#define KERNELS_VECTOR_FUNCTIONS_TEMPLATE_H

#include "kernels/kernels.h"
#include "kernels/vector/lanes_template.h"

#include <float.h>

/* coefficient[0] * x^(count - 1) + ... + coefficient[count - 1] */
static inline vector polynomial(vector x, const float *coefficient, size_t count) {
    vector sum = vector_broadcast(coefficient[0]);
    for (size_t i = 1; i < count; i++)
        sum = vector_fma(sum, x, vector_broadcast(coefficient[i]));
    return sum;
}

#define ROUND_MAGIC 0x1.8p23f /* adding it rounds to an integer and leaves that in the low bits */

/* e^r for x = n ln 2 + r with |r| <= ln 2 / 2; *biased becomes ROUND_MAGIC + n. */
static inline vector exp_of_rest(vector x, vector *biased) {
    static const float tail[] = {0.001381453825160861f, 0.00836874544620514f, 0.04166838899254799f, 0.1666652113199234f,
                                 0.4999999403953552f}; /* (e^r - 1 - r) / r^2 within 3e-9 of e^r */
    const vector magic = vector_broadcast(ROUND_MAGIC);
    *biased = vector_fma(x, vector_broadcast(0x1.715476p+0f), magic);
    vector n = vector_subtract(*biased, magic);
    vector r = vector_fma(n, vector_broadcast(-0x1.62e430p-1f), x);
    r = vector_fma(n, vector_broadcast(0x1.05c610p-29f), r);
    vector power = vector_fma(vector_multiply(r, r), polynomial(r, tail, 5), r);
    return vector_add(power, vector_broadcast(1.0f));
}

/* e^x within 1 ulp, denormal results included. The scaling by 2^n is done in two steps because n runs from -150 to 128
 * and one fp32 factor reaches neither end. */
static inline vector vector_exp(vector x) {
    const vector magic = vector_broadcast(ROUND_MAGIC);
    vector biased;
    x = vector_max(vector_broadcast(-104.0f), vector_min(vector_broadcast(89.0f), x));
    vector power = exp_of_rest(x, &biased);
    vector n = vector_subtract(biased, magic);
    vector half = vector_fma(n, vector_broadcast(0.5f), magic);
    vector rest = vector_add(vector_subtract(n, vector_subtract(half, magic)), magic);
    return vector_multiply(vector_multiply(power, vector_exponent(half)), vector_exponent(rest));
}

/* e^x for x <= 0, within 1 ulp as long as it is at least 2^-126, and 0 below about 2^-126.5: beside the 1 that every
 * softmax sums up, that is nothing, and a third of the work. */
static inline vector vector_exp_falling(vector x) {
    vector biased;
    vector power = exp_of_rest(vector_max(vector_broadcast(-88.0f), x), &biased);
    return vector_multiply(power, vector_exponent(biased));
}

/* tanh within 3 ulp: an odd polynomial near 0, where the exponential form would cancel, 1 - 2 / (e^2|x| + 1) beyond. */
static inline vector vector_tanh(vector x) {
    static const float near[] = {-0.006282466929405928f, 0.021077753975987434f, -0.05385385826230049f,
                                 0.13332602381706238f, -0.33333319425582886f}; /* (tanh x / x - 1) / x^2 in x^2 */
    vector size = vector_absolute(x), square = vector_multiply(x, x);
    vector small = vector_fma(vector_multiply(size, square), polynomial(square, near, 5), size);
    vector power = vector_exp(vector_add(size, size));
    vector one = vector_broadcast(1.0f);
    vector large = vector_subtract(one, vector_divide(vector_broadcast(2.0f), vector_add(power, one)));
    return vector_copy_sign(vector_select_less(size, vector_broadcast(0.55f), small, large), x);
}

/* gelu(x) = x P(x) with P the normal distribution function. By symmetry that is max(x, 0) - t P(-t) with t = |x|, and
 * log2 P(-t) is smooth enough for one polynomial in t: no cancellation and no second branch, unlike an erf. At t = 13
 * it is -126.95, which rounds to -127, whose exponent bits are those of 0: the tail ends in an exact 0. Absolute error
 * below 2e-7 max(1, |x|). */
static inline vector vector_gelu(vector x) {
    static const float log_tail[] = {-1.4111195545396527e-09f, 7.377393984597802e-08f,   -1.523131118119636e-06f,
                                     1.4809636923018843e-05f,  -4.3524451029952615e-05f, -0.0005405613337643445f,
                                     0.007673914544284344f,    -0.05298556387424469f,    -0.459018737077713f,
                                     -1.1511328220367432f,     -0.9999993443489075f};
    static const float power[] = {0.0013264587614685297f, 0.009671619161963463f, 0.0555073507130146f,
                                  0.24022240936756134f, 0.6931470036506653f}; /* (2^r - 1) / r for |r| <= 1/2 */
    const vector magic = vector_broadcast(0x1.8p23f), one = vector_broadcast(1.0f);
    vector t = vector_min(vector_broadcast(13.0f), vector_absolute(x));
    vector y = polynomial(t, log_tail, 11);
    vector shifted = vector_add(y, magic);
    vector r = vector_subtract(y, vector_subtract(shifted, magic));
    vector tail = vector_multiply(vector_fma(r, polynomial(r, power, 5), one), vector_exponent(shifted));
    return vector_subtract(vector_max(vector_broadcast(0.0f), x), vector_multiply(t, tail));
}

/* x (1 + tanh u) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), written as x / (1 + e^-2u). */
static inline vector vector_gelu_tanh(vector x) {
    vector slope =
        vector_fma(vector_multiply(x, x), vector_broadcast(-0.0713548162726f), vector_broadcast(-1.59576912161f));
    vector power = vector_exp(vector_multiply(x, slope));
    vector finite =
        vector_max(vector_broadcast(-FLT_MAX), x); /* minus infinity over infinity would be NaN, the limit is 0 */
    return vector_divide(finite, vector_add(vector_broadcast(1.0f), power));
}

static inline vector vector_activate(enum activation activation, vector x) {
    switch (activation) {
    case ACTIVATION_NONE:
        return x;
    case ACTIVATION_GELU:
        return vector_gelu(x);
    case ACTIVATION_GELU_TANH:
        return vector_gelu_tanh(x);
    case ACTIVATION_RELU:
        return vector_max(vector_broadcast(0.0f), x);
    case ACTIVATION_TANH:
        return vector_tanh(x);
    }
    assert(!"activation");
    return x;
}

#endif
