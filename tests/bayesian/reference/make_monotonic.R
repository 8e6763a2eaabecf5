# Reference numbers for a monotonic effect of three ordered categories: run once, in this folder, with R and brms.
#   Rscript make_monotonic.R
# Simulates monotonic.csv (120 tumours) and fits exactly what that file holds. A few minutes on one core.
# If the compiler does not find boost, BH/include of the R library has to hold (or link to) the boost headers.
#
# brms (doi:10.1111/bmsp.12195): mo(level) at category c = 2 * (simplex_1 + ... + simplex_c), so that
#   y = b_Intercept + bsp_molevel * mo(level) + b_x * x + normal(0, sigma):
# bsp_molevel is the average step, 2 * bsp_molevel the effect of level 2 against 0,
# 2 * bsp_molevel * simplex_1 that of level 1 against 0. With `0 + Intercept` nothing is centred.
suppressMessages({library(brms); library(posterior)})

SEED <- 20261124
CHAINS <- 4
WARMUP <- 1000
DRAWS <- 6000 # of each chain, after warm-up

number <- function(x) sprintf("%.15g", x)
rows <- list()
add <- function(what, ..., tool) {
  values <- c(...)
  rows[[length(rows) + 1]] <<- data.frame(what = what, quantity = names(values), value = number(values), tool = tool)
}

# 1. Data: steps of 1.0 and 0.4.
set.seed(SEED)
n <- 120
level <- sample(0:2, n, replace = TRUE, prob = c(0.4, 0.35, 0.25))
x <- rnorm(n)
y <- 0.4 + c(0, 1.0, 1.4)[level + 1] + 0.3 * x + rnorm(n, 0, 0.8)
write.csv(data.frame(y = sprintf("%.4f", y), level = level, x = sprintf("%.4f", x)), "monotonic.csv",
          row.names = FALSE, quote = FALSE)
d <- read.csv("monotonic.csv")
for (l in 0:2) add(paste0("data:level=", l), n = sum(d$level == l), tool = paste("base", getRversion()))

# 2. Two models with the same priors; half-normal sigma.
COMMON <- prior(normal(0, 1), class = "b") + prior(normal(0, 1), class = "sigma", lb = 0)
MODELS <- list(
  monotonic = list(formula = y ~ 0 + Intercept + mo(level) + x,
                   priors = COMMON + prior(dirichlet(c(1, 1)), class = "simo", coef = "molevel1")),
  unordered = list(formula = y ~ 0 + Intercept + factor(level) + x, priors = COMMON))
quantities <- list(
  monotonic = function(p) with(p, list(
    b_Intercept = b_Intercept, bsp_molevel = bsp_molevel, simplex_1 = simo_molevel1[1],
    simplex_2 = simo_molevel1[2], level_1_vs_0 = 2 * bsp_molevel * simo_molevel1[1],
    level_2_vs_0 = 2 * bsp_molevel, level_2_vs_1 = 2 * bsp_molevel * simo_molevel1[2], b_x = b_x, sigma = sigma)),
  unordered = function(p) with(p, list(
    b_Intercept = b_Intercept, level_1_vs_0 = b_factorlevel1, level_2_vs_0 = b_factorlevel2,
    level_2_vs_1 = b_factorlevel2 - b_factorlevel1, b_x = b_x, sigma = sigma)))

text <- character()
for (model in names(MODELS)) {
  fit <- brm(MODELS[[model]]$formula, data = d, family = gaussian(), prior = MODELS[[model]]$priors, chains = CHAINS,
             iter = WARMUP + DRAWS, warmup = WARMUP, cores = 1, seed = SEED, refresh = 0,
             control = list(adapt_delta = 0.99), backend = "rstan")
  stopifnot(sum(nuts_params(fit, pars = "divergent__")$Value) == 0)
  tool <- paste0("brms ", packageVersion("brms"), "; rstan ", packageVersion("rstan"))
  p <- lapply(quantities[[model]](as_draws_rvars(fit)), draws_of, with_chains = TRUE)
  for (name in names(p)) {
    m <- matrix(p[[name]], ncol = CHAINS)
    stopifnot(rhat(m) < 1.005)
    at <- quantile(m, c(0.025, 0.5, 0.975), names = FALSE)
    errors <- mcse_quantile(m, c(0.025, 0.5, 0.975), names = FALSE)
    add(paste(model, name, sep = ":"), mean = mean(m), sd = sd(m), lower = at[1], median = at[2], upper = at[3],
        mcse_mean = mcse_mean(m), mcse_sd = mcse_sd(m), mcse_lower = errors[1], mcse_median = errors[2],
        mcse_upper = errors[3], ess_bulk = ess_bulk(m), ess_tail = ess_tail(m), rhat = rhat(m), tool = tool)
  }
  text <- c(text, paste0("# ", model, ": ", deparse(MODELS[[model]]$formula), "   (", tool, ")"), "",
            "# prior_summary", capture.output(print(prior_summary(fit), show_df = TRUE)), "",
            "# stancode", strsplit(stancode(fit), "\n")[[1]], "")
}
writeLines(text, "monotonic_model.txt")

# 3. The same posteriors by quadrature. Given sigma and simplex_1 the coefficients are normal (normal prior, normal
#    errors), so every linear quantity is a mixture of normals over a grid of (simplex_1, sigma).
gauss_legendre <- function(k, from, to) {
  i <- seq_len(k - 1)
  jacobi <- matrix(0, k, k)
  jacobi[cbind(i, i + 1)] <- jacobi[cbind(i + 1, i)] <- i / sqrt(4 * i^2 - 1)
  e <- eigen(jacobi, symmetric = TRUE)
  list(at = from + (to - from) * (e$values + 1) / 2, weight = (to - from) * e$vectors[1, ]^2)
}
given <- function(design, sigma) { # normal posterior of the coefficients and log of the marginal density of y and sigma
  precision <- crossprod(design) / sigma^2 + diag(ncol(design))
  v <- solve(precision)
  m <- drop(v %*% crossprod(design, d$y)) / sigma^2
  log_density <- -n * log(sigma) + as.numeric(determinant(v)$modulus) / 2 -
    (sum(d$y^2) / sigma^2 - sum(m * (precision %*% m))) / 2 + dnorm(sigma, 0, 1, log = TRUE)
  list(mean = m, covariance = v, log_density = log_density)
}
summarise <- function(weight, m, s) { # a mixture of normals; s = 0 marks a grid itself, whose quantiles are left out
  centre <- sum(weight * m)
  spread <- sqrt(sum(weight * (s^2 + m^2)) - centre^2)
  at <- function(p) {
    uniroot(function(q) sum(weight * pnorm(q, m, s)) - p, centre + c(-9, 9) * spread, tol = 1e-12)$root
  }
  if (all(s == 0)) return(c(mean = centre, sd = spread))
  c(mean = centre, sd = spread, lower = at(0.025), median = at(0.5), upper = at(0.975))
}
quadrature <- function(design_of, linear_of, n_simplex) {
  simplex <- if (n_simplex > 1) gauss_legendre(n_simplex, 0, 1) else list(at = 0.5, weight = 1)
  sigma <- gauss_legendre(80, 0.4, 1.6)
  grid <- expand.grid(i = seq_along(simplex$at), j = seq_along(sigma$at))
  parts <- Map(function(i, j) given(design_of(simplex$at[i]), sigma$at[j]), grid$i, grid$j)
  log_density <- sapply(parts, `[[`, "log_density")
  weight <- exp(log_density - max(log_density)) * simplex$weight[grid$i] * sigma$weight[grid$j]
  weight <- weight / sum(weight)
  at <- simplex$at[grid$i]
  linear <- lapply(at, linear_of) # rows: quantities; columns: coefficients
  centres <- mapply(function(a, part) drop(a %*% part$mean), linear, parts)
  spreads <- mapply(function(a, part) sqrt(diag(a %*% part$covariance %*% t(a))), linear, parts)
  found <- lapply(setNames(nm = rownames(centres)), function(q) summarise(weight, centres[q, ], spreads[q, ]))
  if (n_simplex > 1) {
    found$simplex_1 <- summarise(weight, at, 0 * at)
    found$simplex_2 <- summarise(weight, 1 - at, 0 * at)
  }
  found$sigma <- summarise(weight, sigma$at[grid$j], 0 * at)
  found
}
exact <- list(
  monotonic = function(k) quadrature(
    function(s) cbind(1, 2 * c(0, s, 1)[d$level + 1], d$x),
    function(s) rbind(b_Intercept = c(1, 0, 0), bsp_molevel = c(0, 1, 0), level_1_vs_0 = c(0, 2 * s, 0),
                      level_2_vs_0 = c(0, 2, 0), level_2_vs_1 = c(0, 2 * (1 - s), 0), b_x = c(0, 0, 1)), k),
  unordered = function(k) quadrature(
    function(s) cbind(1, d$level == 1, d$level == 2, d$x),
    function(s) rbind(b_Intercept = c(1, 0, 0, 0), level_1_vs_0 = c(0, 1, 0, 0), level_2_vs_0 = c(0, 0, 1, 0),
                      level_2_vs_1 = c(0, -1, 1, 0), b_x = c(0, 0, 0, 1)), 1))
sampled <- do.call(rbind, rows)
for (model in names(exact)) {
  found <- exact[[model]](400)
  coarser <- exact[[model]](320)
  for (name in names(found)) {
    stopifnot(max(abs(found[[name]] - coarser[[name]])) < 1e-7)
    what <- paste(model, name, sep = ":")
    for (q in names(found[[name]])) { # and the chains agree within their Monte Carlo error
      chain <- function(of) as.numeric(sampled$value[sampled$what == what & sampled$quantity == of])
      stopifnot(abs(chain(q) - found[[name]][[q]]) < 4.5 * chain(paste0("mcse_", q)))
    }
    add(paste("quadrature", what, sep = ":"), found[[name]], tool = paste("base", getRversion()))
  }
}

out <- do.call(rbind, rows)
stopifnot(!anyDuplicated(out[c("what", "quantity")]), is.finite(as.numeric(out$value)))
out$r_version <- as.character(getRversion())
out$seed <- SEED
out$date <- format(Sys.Date())
write.csv(out, "monotonic_reference.csv", row.names = FALSE, quote = FALSE)
