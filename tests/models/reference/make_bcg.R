# Reference numbers for a binomial random-effects meta-analysis: run once, in this folder, with R and brms.
#   Rscript make_bcg.R
# Data: the 13 trials of BCG vaccination against tuberculosis as Colditz et al. 1994 (doi 10.1001/jama.1994.03510330076038)
# give them, with base log odds and priors of models/evidence_synthesis.py:
#   logit p = base_study + arm (effect + deviation_study), arm = 0.5 in the vaccinated, -0.5 in the others.
suppressMessages({library(brms); library(posterior)})
SEED <- 20261124
CHAINS <- 4
WARMUP <- 1500
DRAWS <- 5000

d <- read.csv("bcg_counts.csv")
long <- rbind(data.frame(study = d$trial, arm = 0.5, events = d$events_exposed, n = d$n_exposed),
              data.frame(study = d$trial, arm = -0.5, events = d$events_reference, n = d$n_reference))
long$study <- factor(long$study)
fit <- brm(events | trials(n) ~ 0 + study + arm + (0 + arm | study), data = long, family = binomial(),
           prior = c(set_prior("normal(0, 2)", class = "b"), set_prior("normal(0, 1)", class = "b", coef = "arm"),
                     set_prior("normal(0, 0.5)", class = "sd", lb = 0)),
           chains = CHAINS, iter = WARMUP + DRAWS, warmup = WARMUP, cores = 1, seed = SEED, refresh = 0,
           control = list(adapt_delta = 0.95), backend = "rstan")
stopifnot(sum(nuts_params(fit, pars = "divergent__")$Value) == 0)
tool <- paste0("brms ", packageVersion("brms"), "; rstan ", packageVersion("rstan"))
p <- as_draws_array(fit)
wanted <- list(effect = p[, , "b_arm"], between_studies_sd = p[, , "sd_study__arm"],
               effect_of_trial_1 = p[, , "b_arm"] + p[, , "r_study[1,arm]"],
               effect_of_trial_8 = p[, , "b_arm"] + p[, , "r_study[8,arm]"])
number <- function(x) sprintf("%.8g", x)
rows <- list()
for (name in names(wanted)) {
  m <- matrix(as.numeric(wanted[[name]]), ncol = CHAINS)
  stopifnot(rhat(m) < 1.005)
  q <- quantile(m, c(0.025, 0.5, 0.975), names = FALSE)
  e <- mcse_quantile(m, c(0.025, 0.5, 0.975), names = FALSE)
  values <- c(mean = mean(m), sd = sd(m), lower = q[1], median = q[2], upper = q[3], mcse_mean = mcse_mean(m),
              mcse_sd = mcse_sd(m), mcse_lower = e[1], mcse_median = e[2], mcse_upper = e[3], ess_bulk = ess_bulk(m))
  rows[[name]] <- data.frame(what = name, quantity = names(values), value = number(values), tool = tool)
}
out <- do.call(rbind, rows)
out$r_version <- as.character(getRversion())
out$seed <- SEED
out$date <- format(Sys.Date())
write.csv(out, "bcg_reference.csv", row.names = FALSE, quote = FALSE)
