# Reference numbers for tests/frequentist: run once, in this folder, with R and metafor.
#   Rscript make_reference.R
library(metafor)

number <- function(x) sprintf("%.10g", x)
rows <- list()
add <- function(what, quantity, value) {
  rows[[length(rows) + 1]] <<- data.frame(what = what, quantity = quantity, value = number(value))
}

# 1. Meta-analysis of the 13 BCG vaccine trials (log risk ratios; Colditz 1994, dat.bcg of metadat).
local({
  bcg <- metadat::dat.bcg
  es <- escalc(measure = "RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = bcg)
  write.csv(data.frame(trial = bcg$trial, log_risk_ratio = number(es$yi), variance = number(es$vi)),
            "bcg.csv", row.names = FALSE, quote = FALSE)
  sets <- list(bcg = es, trials_1_2_3 = es[1:3, ], trials_4_5_6 = es[4:6, ])
  for (set in names(sets)) {
    d <- sets[[set]]
    fits <- list(common = rma(yi, vi, data = d, method = "EE"),
                 reml = rma(yi, vi, data = d, method = "REML", control = list(threshold = 1e-12)),
                 reml_hk = rma(yi, vi, data = d, method = "REML", test = "knha", control = list(threshold = 1e-12)),
                 dl = rma(yi, vi, data = d, method = "DL"),
                 dl_hk = rma(yi, vi, data = d, method = "DL", test = "knha"))
    for (name in names(fits)) {
      fit <- fits[[name]]
      what <- paste(set, name, sep = ":")
      add(what, "estimate", fit$b[1]); add(what, "se", fit$se); add(what, "tau2", fit$tau2)
      add(what, "lower", fit$ci.lb); add(what, "upper", fit$ci.ub); add(what, "p_value", fit$pval)
      add(what, "q", fit$QE)
      if (name != "common") {
        p <- predict(fit)
        add(what, "prediction_lower", p$pi.lb); add(what, "prediction_upper", p$pi.ub)
      }
    }
  }
})

# 2. Logistic and gamma regressions of regressions.csv (simulated; 90 tumours).
d <- read.csv("regressions.csv")
d$present <- as.integer(d$abundance > 0)
presence <- glm(present ~ her2_sd * hr_negative + age, family = binomial, data = d,
                control = list(epsilon = 1e-12, maxit = 200))
amount <- glm(abundance ~ her2_sd * hr_negative + age, family = Gamma(link = "log"),
              data = d[d$present == 1, ], control = list(epsilon = 1e-12, maxit = 200))
for (name in c("presence", "amount")) {
  fit <- get(name)
  v <- vcov(fit)
  b <- coef(fit)
  add(name, "slope_reference", b[["her2_sd"]])
  add(name, "se_reference", sqrt(v["her2_sd", "her2_sd"]))
  add(name, "slope_other", b[["her2_sd"]] + b[["her2_sd:hr_negative"]])
  add(name, "se_other", sqrt(v["her2_sd", "her2_sd"] + v["her2_sd:hr_negative", "her2_sd:hr_negative"] +
                               2 * v["her2_sd", "her2_sd:hr_negative"]))
  add(name, "slope_difference", b[["her2_sd:hr_negative"]])
  add(name, "se_difference", sqrt(v["her2_sd:hr_negative", "her2_sd:hr_negative"]))
}
add("amount", "dispersion", summary(amount)$dispersion)

# 3. Two groups: Spearman, Wilcoxon, chi-squared and Fisher of the same file.
s <- suppressWarnings(cor.test(d$her2_sd, d$abundance, method = "spearman", exact = FALSE))
add("spearman", "rho", s$estimate)
w <- wilcox.test(her2_sd ~ present, data = d, exact = FALSE)
add("wilcoxon", "p_value", w$p.value)
x <- table(d$hr_negative, d$present)
add("chi_squared", "p_value", chisq.test(x, correct = FALSE)$p.value)
add("fisher", "p_value", fisher.test(x)$p.value)

out <- do.call(rbind, rows)
out$tool <- paste0("R ", getRversion(), "; metafor ", packageVersion("metafor"))
out$date <- format(Sys.Date())
write.csv(out, "reference.csv", row.names = FALSE, quote = FALSE)
