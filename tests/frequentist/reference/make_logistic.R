# Reference numbers for logistic regressions of a yes/no outcome: run once, in this folder, with R and MASS.
#   Rscript make_logistic.R
# Simulates logistic.csv (120 tumours) and analyses exactly what that file holds.
suppressMessages(library(MASS)) # profile likelihood of glm

SEED <- 20261124
CONTROL <- list(epsilon = 1e-14, maxit = 200)

number <- function(x) sprintf("%.15g", x)
rows <- list()
add <- function(what, ..., tool = "stats") {
  values <- c(...)
  rows[[length(rows) + 1]] <<- data.frame(what = what, quantity = names(values), value = number(values), tool = tool)
}

# 1. Data.
set.seed(SEED)
n <- 120
her2 <- rnorm(n)
hr <- ifelse(runif(n) < 0.35, "HR-", "HR+")
age <- rnorm(n, 58, 11)
chance <- plogis(-0.3 - 0.7 * her2 + 0.5 * (hr == "HR-") + 1.0 * her2 * (hr == "HR-") - 0.03 * (age - 58))
high <- rbinom(n, 1, chance)
write.csv(data.frame(high = high, her2 = sprintf("%.4f", her2), hr = hr, age = sprintf("%.4f", age)),
          "logistic.csv", row.names = FALSE, quote = FALSE)
d <- read.csv("logistic.csv")
d$hr <- factor(d$hr, levels = c("HR+", "HR-"))
for (h in levels(d$hr)) add(paste0("data:", h), n = sum(d$hr == h), n_high = sum(d$high[d$hr == h]), tool = "base")

VERSION_MASS <- paste("MASS", packageVersion("MASS"))
fit_of <- function(formula, data) { # twice: glm takes its standard errors from the last but one step
  fit <- glm(formula, family = binomial, data = data, control = CONTROL)
  refit <- glm(formula, family = binomial, data = data, control = CONTROL, start = coef(fit))
  refit$call$formula <- formula
  refit
}

# The two coefficients where the deviance, the others refitted, lies 3.84... above its minimum: the limits of
# confint(), which interpolates between a few refits, without the interpolation.
exact_profile <- function(fit, term) {
  x <- model.matrix(fit)
  others <- x[, colnames(x) != term, drop = FALSE]
  excess <- function(b) {
    glm.fit(others, fit$y, family = binomial(), offset = b * x[, term], control = CONTROL)$deviance -
      deviance(fit) - qchisq(0.95, 1)
  }
  b <- coef(fit)[[term]]
  far <- 8 * sqrt(vcov(fit)[term, term])
  c(uniroot(excess, c(b - far, b), tol = 1e-12)$root, uniroot(excess, c(b, b + far), tol = 1e-12)$root)
}

# One coefficient (log odds ratio): Wald and profile-likelihood 95 % limits, Wald and likelihood-ratio p-value.
add_term <- function(what, fit, term) {
  s <- coef(summary(fit))[term, ]
  wald <- confint.default(fit)[term, ]
  profile <- suppressMessages(confint(fit))[term, ]
  exact <- exact_profile(fit, term)
  stopifnot(max(abs(profile - exact)) < 5e-3)
  x <- model.matrix(fit)
  without <- glm.fit(x[, colnames(x) != term, drop = FALSE], fit$y, family = binomial(), control = CONTROL)
  add(what, estimate = s[["Estimate"]], se = s[["Std. Error"]], wald_lower = wald[[1]], wald_upper = wald[[2]],
      wald_p_value = s[["Pr(>|z|)"]])
  add(what, lr_chi_squared = without$deviance - deviance(fit),
      lr_p_value = pchisq(without$deviance - deviance(fit), 1, lower.tail = FALSE))
  add(what, profile_lower = profile[[1]], profile_upper = profile[[2]], tool = VERSION_MASS)
  add(what, exact_profile_lower = exact[1], exact_profile_upper = exact[2])
}

FORMULAS <- list(no_covariates = list(stratum = high ~ her2, interaction = high ~ her2 * hr, main = high ~ her2 + hr),
                 covariates = list(stratum = high ~ her2 + age, interaction = high ~ her2 * hr + age,
                                   main = high ~ her2 + hr + age))
for (model in names(FORMULAS)) {
  formulas <- FORMULAS[[model]]

  # 2. One regression per HR stratum.
  for (h in levels(d$hr)) {
    fit <- fit_of(formulas$stratum, d[d$hr == h, ])
    what <- paste("stratum", model, h, sep = ":")
    add_term(what, fit, "her2")
    add(what, intercept = coef(fit)[["(Intercept)"]], deviance = deviance(fit))
  }

  # 3. One regression with the interaction: HR+ is the reference; the interaction is log OR in HR- minus in HR+.
  fit <- fit_of(formulas$interaction, d)
  main <- fit_of(formulas$main, d)
  test <- anova(main, fit, test = "LRT")
  what <- paste("interaction", model, sep = ":")
  add_term(paste(what, "HR- minus HR+", sep = ":"), fit, "her2:hrHR-")
  add(what, anova_chi_squared = test[2, "Deviance"], anova_p_value = test[2, "Pr(>Chi)"], deviance = deviance(fit),
      deviance_main = deviance(main), log_likelihood = as.numeric(logLik(fit)))
  for (h in levels(d$hr)) {
    fit <- fit_of(formulas$interaction, transform(d, hr = relevel(hr, ref = h)))
    add_term(paste(what, h, sep = ":"), fit, "her2")
  }
}

out <- do.call(rbind, rows)
stopifnot(!anyDuplicated(out[c("what", "quantity")]), is.finite(as.numeric(out$value)))
out$tool <- sub("^(stats|base)$", paste("\\1", getRversion()), out$tool)
out$r_version <- as.character(getRversion())
out$seed <- SEED
out$date <- format(Sys.Date())
write.csv(out, "logistic_reference.csv", row.names = FALSE, quote = FALSE)
