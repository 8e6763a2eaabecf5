# Reference numbers for the analysis of covariance: run once, in this folder, with R, car and emmeans.
#   Rscript make_ancova.R
# Simulates ancova.csv (180 tumours) and analyses exactly what that file holds.
suppressMessages({library(car); library(emmeans)})
emm_options(msg.interaction = FALSE) # no note that an average hides an interaction: wanted here

SEED <- 20261124
HER2_AT <- -2:2

number <- function(x) ifelse(is.na(x), "NA", sprintf("%.15g", x))
rows <- list()
add <- function(what, ..., tool = "stats") {
  values <- c(...)
  rows[[length(rows) + 1]] <<- data.frame(what = what, quantity = names(values), value = number(values), tool = tool)
}

# 1. Data: unbalanced, with interactions her2 x hr, her2 x ihc and hr x ihc; no three-way interaction.
set.seed(SEED)
n <- 180
her2 <- rnorm(n)
hr <- ifelse(runif(n) < 0.28, "HR-", "HR+")
score <- 0.6 * her2 + 0.4 * (hr == "HR+") + rnorm(n)
ihc <- cut(score, c(-Inf, -0.1, 0.9, Inf), labels = c("0", "1+", "2+"))
age <- rnorm(n, 58, 11)
size <- exp(rnorm(n, 0.8, 0.4))
y <- 1 + 0.35 * her2 - 0.5 * (hr == "HR-") + 0.25 * (ihc == "1+") + 0.5 * (ihc == "2+") -
  0.6 * her2 * (hr == "HR-") - 0.2 * her2 * (ihc == "1+") + 0.35 * her2 * (ihc == "2+") +
  0.4 * (hr == "HR-") * (ihc == "1+") - 0.5 * (hr == "HR-") * (ihc == "2+") +
  0.015 * (age - 58) - 0.2 * size + rnorm(n, 0, 0.9)
write.csv(data.frame(y = sprintf("%.4f", y), her2 = sprintf("%.4f", her2), hr = hr, ihc = ihc,
                     age = sprintf("%.4f", age), size = sprintf("%.4f", size)),
          "ancova.csv", row.names = FALSE, quote = FALSE)
d <- read.csv("ancova.csv", colClasses = c(hr = "character", ihc = "character"))
d$hr <- factor(d$hr, levels = c("HR+", "HR-"))
d$ihc <- factor(d$ihc, levels = c("0", "1+", "2+"))
for (h in levels(d$hr)) for (i in levels(d$ihc)) {
  add(paste("data", h, i, sep = ":"), n = sum(d$hr == h & d$ihc == i), tool = "base")
}

CAR <- paste("car", packageVersion("car"))
EMMEANS <- paste("emmeans", packageVersion("emmeans"))
TREATMENT <- list(hr = "contr.treatment", ihc = "contr.treatment")
SUM <- list(hr = "contr.sum", ihc = "contr.sum")
MODELS <- list(no_covariates = y ~ (her2 + hr + ihc)^2,
               covariates = y ~ (her2 + hr + ihc)^2 + age + size)

# Estimate, SE, t with the residual df and 95 % interval of each row of `weights` times the coefficients.
combine <- function(fit, weights) {
  known <- !is.na(coef(fit)) # an aliased coefficient: only for rows that weigh it with 0
  weights <- rbind(weights)
  stopifnot(weights[, !known] == 0)
  weights <- weights[, known, drop = FALSE]
  estimate <- drop(weights %*% coef(fit)[known])
  se <- sqrt(diag(weights %*% vcov(fit)[known, known] %*% t(weights)))
  df <- df.residual(fit)
  reach <- qt(0.975, df) * se
  data.frame(estimate = estimate, se = se, df = df, lower = estimate - reach, upper = estimate + reach,
             p_value = 2 * pt(-abs(estimate / se), df))
}
design <- function(fit, data) model.matrix(delete.response(terms(fit)), data, contrasts.arg = fit$contrasts,
                                           xlev = fit$xlevels)
at_her2 <- function(data, value) transform(data, her2 = value)
slope_rows <- function(fit, data) design(fit, at_her2(data, 1)) - design(fit, at_her2(data, 0)) # linear in her2

means_of <- function(rows, group) t(sapply(levels(group), function(l) colMeans(rows[group == l, , drop = FALSE])))

# The same columns from an emmGrid.
from_emmeans <- function(grid) {
  s <- as.data.frame(summary(grid, infer = TRUE))
  estimate <- intersect(c("her2.trend", "emmean", "estimate"), names(s))
  names(s) <- sub("asymp.LCL", "lower.CL", sub("asymp.UCL", "upper.CL", names(s))) # where no row is estimable
  data.frame(estimate = s[[estimate]], se = s$SE, df = s$df, lower = s$lower.CL, upper = s$upper.CL,
             p_value = s$p.value)
}
add_estimates <- function(what, table, tool) {
  for (i in seq_along(what)) add(what[i], unlist(table[i, ]), tool = tool)
}
same <- function(a, b) stopifnot(max(abs(as.matrix(a) - as.matrix(b))) < 1e-7)

for (model in names(MODELS)) {
  fit <- lm(MODELS[[model]], data = d, contrasts = TREATMENT)
  key <- function(what, ...) paste(what, model, ..., sep = ":")

  # 2. Coefficients with treatment contrasts (HR+ and IHC 0 are the references), residual SD.
  for (term in names(coef(fit))) {
    add(paste("coefficient", model, term, sep = ":"), estimate = coef(fit)[[term]],
        se = sqrt(vcov(fit)[term, term]))
  }
  add(key("fit"), sigma = sigma(fit), df_residual = df.residual(fit), r_squared = summary(fit)$r.squared)

  # 3. Type III tests, sum-to-zero contrasts. her2, age, size as they are: hr, ihc and hr:ihc are tested at her2 = 0.
  table <- Anova(lm(MODELS[[model]], data = d, contrasts = SUM), type = 3)
  residual <- table["Residuals", "Df"]
  for (term in setdiff(rownames(table), "Residuals")) {
    add(paste("type3", model, term, sep = ":"), sum_of_squares = table[term, "Sum Sq"], f = table[term, "F value"],
        df1 = table[term, "Df"], df2 = residual, p_value = table[term, "Pr(>F)"], tool = CAR)
  }

  # 4. Slopes of her2, equal weights.
  trends <- function(by, weights) emtrends(fit, by, var = "her2", weights = weights)
  cells <- expand.grid(hr = levels(d$hr), ihc = levels(d$ihc), her2 = 0, age = 0, size = 0)
  cell_slopes <- slope_rows(fit, cells)
  equal <- list(overall = trends(~1, "equal"), hr = trends(~hr, "equal"), ihc = trends(~ihc, "equal"))
  add_estimates(key("slope", "equal", "overall"), from_emmeans(equal$overall), EMMEANS)
  add_estimates(key("slope", "equal", paste0("hr=", levels(d$hr))), from_emmeans(equal$hr), EMMEANS)
  add_estimates(key("slope", "equal", paste0("ihc=", levels(d$ihc))), from_emmeans(equal$ihc), EMMEANS)
  difference <- contrast(equal$hr, list("HR- minus HR+" = c(-1, 1)))
  add_estimates(key("slope", "equal", "HR- minus HR+"), from_emmeans(difference), EMMEANS)
  same(from_emmeans(equal$overall), combine(fit, colMeans(cell_slopes)))
  same(from_emmeans(equal$hr), combine(fit, means_of(cell_slopes, cells$hr)))
  same(from_emmeans(equal$ihc), combine(fit, means_of(cell_slopes, cells$ihc)))
  by_hr <- means_of(cell_slopes, cells$hr)
  same(from_emmeans(difference), combine(fit, by_hr["HR-", ] - by_hr["HR+", ]))

  # 5. Slopes of her2, observed weights: mean of the tumours' own slopes, within a level of hr (ihc) over its tumours.
  own <- slope_rows(fit, d)
  by_hr <- means_of(own, d$hr)
  by_ihc <- means_of(own, d$ihc)
  add_estimates(key("slope", "observed", "overall"), combine(fit, colMeans(own)), "stats")
  add_estimates(key("slope", "observed", paste0("hr=", levels(d$hr))), combine(fit, by_hr), "stats")
  add_estimates(key("slope", "observed", paste0("ihc=", levels(d$ihc))), combine(fit, by_ihc), "stats")
  # ... each HR stratum with its own ihc mix; and both with the ihc mix of all tumours
  own_mix <- combine(fit, by_hr["HR-", ] - by_hr["HR+", ])
  add_estimates(key("slope", "observed", "HR- minus HR+ (own ihc)"), own_mix, "stats")
  negative <- transform(d, hr = factor("HR-", levels(d$hr)))
  positive <- transform(d, hr = factor("HR+", levels(d$hr)))
  common <- colMeans(slope_rows(fit, negative)) - colMeans(slope_rows(fit, positive))
  add_estimates(key("slope", "observed", "HR- minus HR+ (all ihc)"), combine(fit, common), "stats")
  same(from_emmeans(trends(~1, "cells")), combine(fit, colMeans(own)))
  same(from_emmeans(trends(~hr, "cells")), combine(fit, by_hr))
  same(from_emmeans(trends(~ihc, "cells")), combine(fit, by_ihc))

  # 6. Marginal means of y at five values of her2. Equal weights over cells, covariates at their mean over all tumours;
  #    observed weights: average prediction over tumours with her2 set.
  for (at in HER2_AT) {
    label <- function(...) paste(key("mean", ...), paste0("her2=", at), sep = ":")
    grid <- list(her2 = at)
    overall <- emmeans(fit, ~1, at = grid, weights = "equal")
    add_estimates(label("equal", "overall"), from_emmeans(overall), EMMEANS)
    strata <- from_emmeans(emmeans(fit, ~hr, at = grid, weights = "equal"))
    add_estimates(label("equal", paste0("hr=", levels(d$hr))), strata, EMMEANS)
    x <- design(fit, transform(cells, her2 = at, age = mean(d$age), size = mean(d$size)))
    same(from_emmeans(overall), combine(fit, colMeans(x)))
    same(strata, combine(fit, means_of(x, cells$hr)))

    x <- design(fit, at_her2(d, at))
    add_estimates(label("observed", "overall"), combine(fit, colMeans(x)), "stats")
    # a stratum's own tumours (own ihc, own covariates) ...
    strata <- combine(fit, means_of(x, d$hr))
    add_estimates(label("observed", paste0("hr=", levels(d$hr), " (own tumours)")), strata, "stats")
    # ... and all tumours with hr set
    set <- rbind(colMeans(design(fit, at_her2(positive, at))), colMeans(design(fit, at_her2(negative, at))))
    add_estimates(label("observed", paste0("hr=", levels(d$hr), " (all tumours)")), combine(fit, set), "stats")
    same(combine(fit, colMeans(x))$estimate, mean(predict(fit, at_her2(d, at))))
    predicted <- function(data) mean(predict(fit, at_her2(data, at)))
    same(combine(fit, set)$estimate, c(predicted(positive), predicted(negative)))
  }
}

# 7. An empty cell: no HR- tumour with IHC 2+. Without a three-way interaction the slopes stay estimable,
#    the means do not.
e <- d[!(d$hr == "HR-" & d$ihc == "2+"), ]
EMPTY <- list(two_way = y ~ (her2 + hr + ihc)^2, three_way = y ~ her2 * hr * ihc)
estimable <- function(what, grid) {
  table <- from_emmeans(grid)
  for (i in seq_along(what)) {
    add(what[i], c(estimable = as.numeric(!is.na(table$estimate[i])), unlist(table[i, ])), tool = EMMEANS)
  }
}
for (model in names(EMPTY)) {
  key <- function(...) paste("empty_cell", model, ..., sep = ":")
  for (coding in c("treatment", "sum")) {
    fit <- lm(EMPTY[[model]], data = e, contrasts = get(toupper(coding)))
    for (term in names(coef(fit))) {
      b <- coef(fit)[[term]]
      add(key("coefficient", coding, term), aliased = as.numeric(is.na(b)), estimate = b)
    }
  }
  add(key("fit"), sigma = sigma(fit), df_residual = df.residual(fit), rank = fit$rank)
  refused <- inherits(try(Anova(fit, type = 3), silent = TRUE), "try-error")
  add(key("type3"), refused = as.numeric(refused), tool = CAR)
  fit <- lm(EMPTY[[model]], data = e, contrasts = TREATMENT)
  trends <- function(by) emtrends(fit, by, var = "her2", weights = "equal")
  estimable(key("slope", "equal", "overall"), trends(~1))
  estimable(key("slope", "equal", paste0("hr=", levels(d$hr))), trends(~hr))
  estimable(key("slope", "equal", paste0("ihc=", levels(d$ihc))), trends(~ihc))
  estimable(key("slope", "equal", "HR- minus HR+"), contrast(trends(~hr), list(c(-1, 1))))
  own <- slope_rows(fit, e)
  add_estimates(key("slope", "observed", "overall"), combine(fit, colMeans(own)), "stats")
  add_estimates(key("slope", "observed", paste0("hr=", levels(d$hr))), combine(fit, means_of(own, e$hr)), "stats")
  add_estimates(key("slope", "observed", paste0("ihc=", levels(d$ihc))), combine(fit, means_of(own, e$ihc)), "stats")
  cells <- expand.grid(hr = levels(d$hr), ihc = levels(d$ihc))
  estimable(key("slope", "cell", paste0("hr=", cells$hr, "&ihc=", cells$ihc)), trends(~hr + ihc))
  means <- function(by) emmeans(fit, by, at = list(her2 = 0), weights = "equal")
  estimable(key("mean", "equal", "overall", "her2=0"), means(~1))
  estimable(key("mean", "equal", paste0("hr=", levels(d$hr)), "her2=0"), means(~hr))
  estimable(key("mean", "equal", paste0("ihc=", levels(d$ihc)), "her2=0"), means(~ihc))
}

out <- do.call(rbind, rows)
stopifnot(!anyDuplicated(out[c("what", "quantity")]))
out$tool <- sub("^(stats|base)$", paste("\\1", getRversion()), out$tool)
out$r_version <- as.character(getRversion())
out$seed <- SEED
out$date <- format(Sys.Date())
write.csv(out, "ancova_reference.csv", row.names = FALSE, quote = FALSE)
