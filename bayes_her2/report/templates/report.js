// What scripts add to a page that is complete without them: contents that follow the reader, folds that open for a link
// and for print, boxes that can be scrolled by keys where they need it, and the values of marks in figures.
(() => {
  "use strict";
  const root = document.documentElement;
  const main = document.getElementById("main");
  const contents = document.getElementById("contents");
  const fold = contents.querySelector("details");
  const summary = fold.querySelector("summary");
  const list = contents.querySelector(".list");
  const wide = matchMedia("(min-width: 1240px)"); // as in the style sheet

  // --- contents: a column on a wide screen, a menu on a narrow one ---

  const fit = () => {
    fold.open = wide.matches;
  };
  const measure = () => {
    const stuck = wide.matches ? document.querySelector(".simulated") : document.querySelector(".top");
    root.style.setProperty("--top", `${stuck ? stuck.offsetHeight : 0}px`);
  };
  const closeMenu = () => {
    if (!wide.matches) fold.open = false;
  };
  fit();
  measure();
  wide.addEventListener("change", fit);
  addEventListener("resize", measure);
  contents.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && fold.open && !wide.matches) {
      closeMenu();
      summary.focus();
    }
  });

  const headings = [...main.querySelectorAll("h2[id]")];
  const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  let current = null;
  const follow = () => {
    const line = parseFloat(root.style.getPropertyValue("--top")) + innerHeight / 4;
    const passed = headings.filter((heading) => heading.getBoundingClientRect().top < line);
    const here = passed.at(-1) ?? headings[0];
    if (!here || here === current) return;
    if (current) links.get(current.id).removeAttribute("aria-current");
    current = here;
    const link = links.get(here.id);
    link.setAttribute("aria-current", "true");
    summary.querySelector(".here").textContent = here.textContent;
    if (link.offsetTop < list.scrollTop || link.offsetTop + link.offsetHeight > list.scrollTop + list.clientHeight) {
      list.scrollTop = link.offsetTop - list.clientHeight / 3;
    }
  };
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      follow();
    });
  };
  addEventListener("scroll", soon, { passive: true });
  addEventListener("resize", soon);
  follow();

  // --- folds: open for what a link points at, and all of them for print ---

  const reveal = (hash) => {
    const target = document.getElementById(hash.slice(1));
    if (!target || !main.contains(target)) return;
    const closed = [];
    for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) {
      if (!box.open) closed.push(box);
    }
    for (const box of closed) box.open = true;
    if (closed.length) target.scrollIntoView();
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (!contents.contains(event.target)) closeMenu();
    if (!link) return;
    if (link.hash === "#contents") {
      event.preventDefault();
      fold.open = true;
      (contents.querySelector('[aria-current]') ?? summary).focus();
      return;
    }
    closeMenu();
    reveal(link.hash); // before the browser goes there
  });
  addEventListener("hashchange", () => reveal(location.hash));
  reveal(location.hash);
  addEventListener("load", () => reveal(location.hash));

  let openedForPrint = [];
  addEventListener("beforeprint", () => {
    if (document.getElementById("without-folded").checked) return;
    openedForPrint = [...main.querySelectorAll("details:not([open])")];
    for (const box of openedForPrint) box.open = true;
  });
  addEventListener("afterprint", () => {
    for (const box of openedForPrint) box.open = false;
    openedForPrint = [];
  });

  // --- boxes that scroll sideways can be reached by keys, others are no stop ---

  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth + 1) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const box of main.querySelectorAll(".scroll")) sized.observe(box);

  // --- values of marks: by mouse, finger, and arrow keys (a figure is one stop of Tab) ---

  const NEAR = 14; // pixels from a mark within which it is meant
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  let shown = null;

  const hide = () => {
    tip.hidden = true;
    shown?.classList.remove("shown");
    shown = null;
  };
  const show = (mark) => {
    if (mark === shown) return;
    hide();
    shown = mark;
    mark.classList.add("shown");
    tip.textContent = mark.dataset.said;
    tip.hidden = false;
    const at = mark.getBoundingClientRect();
    const left = at.left + at.width / 2 - tip.offsetWidth / 2;
    const above = at.top - tip.offsetHeight - 10;
    tip.style.left = `${Math.max(6, Math.min(left, root.clientWidth - tip.offsetWidth - 6))}px`;
    tip.style.top = `${above > 6 ? above : at.bottom + 10}px`;
  };
  const nearest = (marks, x, y) => {
    let [best, least] = [null, NEAR];
    for (const mark of marks) {
      const box = mark.getBoundingClientRect();
      const aside = Math.max(box.left - x, 0, x - box.right);
      const distance = aside + Math.abs(y - (box.top + box.bottom) / 2);
      if (distance < least) [best, least] = [mark, distance];
    }
    return best;
  };
  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

  for (const drawing of main.querySelectorAll(".drawing svg")) {
    const marks = [...drawing.querySelectorAll(".value")];
    if (!marks.length) continue;
    drawing.setAttribute("role", "group"); // an image hides what is inside
    for (const mark of marks) {
      const title = mark.querySelector("title");
      mark.dataset.said = title.textContent;
      mark.setAttribute("role", "img");
      mark.setAttribute("aria-label", title.textContent.replaceAll("\n", "; "));
      mark.setAttribute("tabindex", "-1");
      title.remove(); // or the browser shows it too
    }
    marks[0].setAttribute("tabindex", "0");
    const point = (event) => {
      const mark = nearest(marks, event.clientX, event.clientY);
      if (mark) show(mark);
      else hide();
    };
    drawing.addEventListener("pointermove", point);
    drawing.addEventListener("pointerdown", point);
    drawing.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") hide(); // a finger leaves as soon as it is lifted
    });
    drawing.addEventListener("focusin", (event) => show(event.target));
    drawing.addEventListener("focusout", hide);
    drawing.addEventListener("keydown", (event) => {
      const at = marks.indexOf(document.activeElement);
      if (event.key === "Escape") hide();
      if (!(event.key in STEPS) || at < 0) return;
      event.preventDefault();
      const next = marks[Math.max(0, Math.min(at + STEPS[event.key], marks.length - 1))];
      marks[at].setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  }
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".drawing svg")) hide();
  });
  addEventListener("scroll", () => {
    if (!shown?.matches(":focus")) hide();
  }, { passive: true, capture: true });
})();
