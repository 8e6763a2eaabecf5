suppressMessages(library(brms))
d <- read.csv("hurdle.csv")
options(mc.cores = 2)
f <- brm(bf(abundance ~ 0 + Intercept + her2_sd, hu ~ 0 + Intercept + her2_sd, shape ~ 0 + Intercept),
  data = d, family = hurdle_gamma(link = "log", link_shape = "log", link_hu = "logit"),
  prior = c(prior(normal(-3, 1.803), class = b, coef = Intercept), prior(normal(0, 0.707), class = b, coef = her2_sd),
            prior(normal(-1, 2.121), class = b, coef = Intercept, dpar = hu), prior(normal(0, 0.707), class = b, coef = her2_sd, dpar = hu),
            prior(normal(0.5, 1), class = b, coef = Intercept, dpar = shape)),
  chains = 4, iter = 3000, warmup = 1000, seed = 20261127, refresh = 0)
k <- kfold(f, folds = d$fold, K = 5, seed = 20261127)
print(k); print(summary(f))
write.csv(data.frame(tumour = d$tumour, elpd = k$pointwise[, "elpd_kfold"]), "kfold.csv", row.names = FALSE)
cat(R.version.string, as.character(packageVersion("brms")), as.character(packageVersion("rstan")), format(Sys.Date()), "\n")
