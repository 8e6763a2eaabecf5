# Reference numbers for correlations and for the comparison of two that share a variable: run once, in this folder,
# with R and psych.
#   Rscript make_correlations.R
# Simulates correlations.csv (150 tumours) and analyses exactly what that file holds.
SEED <- 20261124
Z <- qnorm(0.975)

number <- function(x) sprintf("%.15g", x)
rows <- list()
add <- function(what, ..., tool = "stats") {
  values <- c(...)
  rows[[length(rows) + 1]] <<- data.frame(what = what, quantity = names(values), value = number(values), tool = tool)
}

# 1. Data: tils in steps of 5 from 0 on, so with many ties; the others without.
set.seed(SEED)
n <- 150
r <- matrix(c(1, -0.45, -0.3, -0.3, -0.45, 1, 0.5, 0.3, -0.3, 0.5, 1, 0.4, -0.3, 0.3, 0.4, 1), 4)
x <- matrix(rnorm(4 * n), n) %*% chol(r)
tils <- pmax(0, 5 * round((25 + 14 * x[, 1]) / 5))
write.csv(data.frame(tils = tils, her2 = sprintf("%.4f", x[, 2]), erbb2 = sprintf("%.4f", 9 + 1.5 * x[, 3]),
                     esr1 = sprintf("%.4f", exp(1 + x[, 4]))),
          "correlations.csv", row.names = FALSE, quote = FALSE)
d <- read.csv("correlations.csv")
add("data", n = nrow(d), n_distinct_tils = length(unique(d$tils)), n_zero_tils = sum(d$tils == 0),
    n_distinct_her2 = length(unique(d$her2)), n_distinct_erbb2 = length(unique(d$erbb2)),
    n_distinct_esr1 = length(unique(d$esr1)), tool = "base")

# 2. Each pair. Spearman: mid-ranks, p-value from t with n - 2 df, interval of Bonett and Wright (2000),
#    tanh(atanh(rho) -+ z sqrt((1 + rho^2 / 2) / (n - 3))). Pearson: Fisher's interval.
bonett_wright <- function(rho, n) tanh(atanh(rho) + c(-1, 1) * Z * sqrt((1 + rho^2 / 2) / (n - 3)))
fisher <- function(r, n) tanh(atanh(r) + c(-1, 1) * Z / sqrt(n - 3))
pairs <- combn(names(d), 2)
for (i in seq_len(ncol(pairs))) {
  a <- d[[pairs[1, i]]]
  b <- d[[pairs[2, i]]]
  pair <- paste(pairs[, i], collapse = "~")
  rho <- cor(a, b, method = "spearman")
  test <- cor.test(a, b, method = "spearman", exact = FALSE)
  stopifnot(abs(rho - test$estimate) < 1e-12, abs(rho - cor(rank(a), rank(b))) < 1e-12)
  limits <- bonett_wright(rho, n)
  t <- rho * sqrt((n - 2) / (1 - rho^2))
  stopifnot(abs(test$p.value / (2 * pt(-abs(t), n - 2)) - 1) < 1e-8)
  add(paste0("spearman:", pair), rho = rho, p_value = test$p.value, lower = limits[1], upper = limits[2],
      se_fisher_z = sqrt((1 + rho^2 / 2) / (n - 3)))
  test <- cor.test(a, b)
  stopifnot(max(abs(test$conf.int - fisher(test$estimate, n))) < 1e-12)
  add(paste0("pearson:", pair), r = test$estimate[[1]], p_value = test$p.value, lower = test$conf.int[1],
      upper = test$conf.int[2])
}

# 3. Two correlations that share variable j: r_jk against r_jh of the same n tumours, r_kh between the other two.
#    Steiger (1980, doi:10.1037/0033-2909.87.2.245) equations 10 and 14: Dunn and Clark's z with the mean correlation.
steiger <- function(r_jk, r_jh, r_kh, n) {
  m <- (r_jk + r_jh) / 2
  covariance <- (r_kh * (1 - 2 * m^2) - m^2 * (1 - 2 * m^2 - r_kh^2) / 2) / (1 - m^2)^2
  (atanh(r_jk) - atanh(r_jh)) * sqrt(n - 3) / sqrt(2 - 2 * covariance)
}
#    Dunn and Clark (1969, doi:10.2307/2283746): each correlation at its own value.
covariance_of_z <- function(r_jk, r_jh, r_kh) {
  (r_kh * (1 - r_jk^2 - r_jh^2) - r_jk * r_jh * (1 - r_jk^2 - r_jh^2 - r_kh^2) / 2) / ((1 - r_jk^2) * (1 - r_jh^2))
}
dunn_clark <- function(r_jk, r_jh, r_kh, n) {
  (atanh(r_jk) - atanh(r_jh)) * sqrt(n - 3) / sqrt(2 - 2 * covariance_of_z(r_jk, r_jh, r_kh))
}
#    Meng, Rosenthal and Rubin (1992, doi:10.1037/0033-2909.111.1.172): z and limits of the difference of Fisher z.
meng <- function(r_jk, r_jh, r_kh, n) {
  r2 <- (r_jk^2 + r_jh^2) / 2
  f <- min(1, (1 - r_kh) / (2 * (1 - r2)))
  se <- sqrt(2 * (1 - r_kh) * (1 - f * r2) / (1 - r2) / (n - 3))
  difference <- atanh(r_jk) - atanh(r_jh)
  c(z = difference / se, lower = difference - Z * se, upper = difference + Z * se)
}
#    Zou (2007, doi:10.1037/1082-989X.12.4.399): limits of r_jk - r_jh from the limits of each and their correlation.
zou <- function(r_jk, r_jh, r_kh, limits_jk, limits_jh) {
  r2 <- r_jk^2 + r_jh^2 + r_kh^2
  correlation <- ((r_kh - r_jk * r_jh / 2) * (1 - r2) + r_kh^3) / ((1 - r_jk^2) * (1 - r_jh^2))
  reach <- function(a, b) sqrt(a^2 + b^2 - 2 * correlation * a * b)
  c(lower = r_jk - r_jh - reach(r_jk - limits_jk[1], limits_jh[2] - r_jh),
    upper = r_jk - r_jh + reach(limits_jk[2] - r_jk, r_jh - limits_jh[1]))
}
#    Published values: Zou 2007 p. 409; Meng et al. 1992; DEPCOR (Silver, Hittner and May 2006).
example <- zou(0.396, 0.179, 0.088, fisher(0.396, 66), fisher(0.179, 66))
stopifnot(all(round(example, 3) == c(-0.093, 0.517)))
stopifnot(round(meng(0.63, -0.03, -0.19, 15)[["z"]], 2) == 1.68)
stopifnot(round(meng(0.3, 0.4, 0.5, 100)[["z"]], 4) == -1.0707)
stopifnot(round(steiger(0.3, 0.4, 0.5, 100), 4) == -1.0718)
stopifnot(round(dunn_clark(0.3, 0.4, 0.5, 100), 4) == -1.0730)

PSYCH <- paste("psych", packageVersion("psych"))
two_sided <- function(z) 2 * pnorm(-abs(z))
COMPARED <- list(c("her2", "erbb2"), c("her2", "esr1"), c("erbb2", "esr1"))
for (method in c("pearson", "spearman")) {
  m <- cor(d, method = method)
  for (pair in COMPARED) {
    r_jk <- m["tils", pair[1]]
    r_jh <- m["tils", pair[2]]
    r_kh <- m[pair[1], pair[2]]
    what <- paste0("compare:", method, ":tils~", pair[1], " against tils~", pair[2])
    z <- steiger(r_jk, r_jh, r_kh, n)
    dc <- dunn_clark(r_jk, r_jh, r_kh, n)
    mrr <- meng(r_jk, r_jh, r_kh, n)
    williams <- psych::r.test(n, r12 = r_jk, r13 = r_jh, r23 = r_kh)
    with_fisher <- zou(r_jk, r_jh, r_kh, fisher(r_jk, n), fisher(r_jh, n))
    add(what, r_jk = r_jk, r_jh = r_jh, r_kh = r_kh, difference = r_jk - r_jh)
    add(what, steiger_z = z, steiger_p_value = two_sided(z), dunn_clark_z = dc, dunn_clark_p_value = two_sided(dc))
    add(what, meng_z = mrr[["z"]], meng_p_value = two_sided(mrr[["z"]]), meng_lower_fisher_z = mrr[["lower"]],
        meng_upper_fisher_z = mrr[["upper"]])
    add(what, zou_lower = with_fisher[["lower"]], zou_upper = with_fisher[["upper"]])
    if (method == "spearman") { # the limits of each Spearman correlation by Bonett and Wright instead of Fisher
      with_bw <- zou(r_jk, r_jh, r_kh, bonett_wright(r_jk, n), bonett_wright(r_jh, n))
      add(what, zou_bonett_wright_lower = with_bw[["lower"]], zou_bonett_wright_upper = with_bw[["upper"]])
    }
    t <- (r_jk - r_jh) * sqrt((n - 1) * (1 + r_kh) / (2 * (n - 1) / (n - 3) *
      (1 - r_jk^2 - r_jh^2 - r_kh^2 + 2 * r_jk * r_jh * r_kh) + ((r_jk + r_jh) / 2)^2 * (1 - r_kh)^3))
    stopifnot(abs(abs(t) - abs(williams$t)) < 1e-10, abs(2 * pt(-abs(t), n - 3) - williams$p) < 1e-10)
    add(what, williams_t = williams$t, williams_p_value = williams$p, tool = PSYCH)
  }
}

out <- do.call(rbind, rows)
stopifnot(!anyDuplicated(out[c("what", "quantity")]), is.finite(as.numeric(out$value)))
out$tool <- sub("^(stats|base)$", paste("\\1", getRversion()), out$tool)
out$r_version <- as.character(getRversion())
out$seed <- SEED
out$date <- format(Sys.Date())
write.csv(out, "correlations_reference.csv", row.names = FALSE, quote = FALSE)
