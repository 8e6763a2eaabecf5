# Reference numbers for random-effects regression on hormone receptor status: run once, in this folder, with R and metafor.
#   Rscript make_both_strata.R
suppressMessages(library(metafor))
d <- data.frame(y = c(-0.20, 0.40, -0.75, -1.20, -0.15, 0.30), se = c(0.15, 0.30, 0.25, 0.20, 0.35, 0.30),
                positive = c(1, 1, 1, 0, 0, 0))
d$negative <- 1 - d$positive
rows <- list()
for (setting in c("REML:adhoc", "REML:z", "DL:z")) {
  s <- strsplit(setting, ":")[[1]]
  fit <- rma(y, sei = se, mods = ~ 0 + positive + negative, data = d, method = s[1], test = s[2],
             control = list(threshold = 1e-10, maxiter = 1000))
  contrasts <- list("HR+" = c(1, 0), "HR-" = c(0, 1), "HR- over HR+" = c(-1, 1))
  for (name in names(contrasts)) {
    x <- contrasts[[name]]
    b <- sum(x * fit$beta)
    v <- sqrt(drop(t(x) %*% fit$vb %*% x))
    q <- if (s[2] == "z") qnorm(0.975) else qt(0.975, fit$k - fit$p)
    p <- if (s[2] == "z") 2 * pnorm(-abs(b) / v) else 2 * pt(-abs(b) / v, fit$k - fit$p)
    found <- c(point = b, lower = b - q * v, upper = b + q * v, p_value = p)
    rows[[length(rows) + 1]] <- data.frame(method = setting, quantity = paste(name, names(found), sep = ":"),
                                           value = sprintf("%.10g", found))
  }
  rows[[length(rows) + 1]] <- data.frame(method = setting, quantity = "tau2", value = sprintf("%.10g", fit$tau2))
}
out <- do.call(rbind, rows)
out$tool <- paste0("R ", getRversion(), "; metafor ", packageVersion("metafor"))
out$date <- format(Sys.Date())
write.csv(out, "both_strata_reference.csv", row.names = FALSE, quote = FALSE)
