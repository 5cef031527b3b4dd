// A table that is too wide for the page scrolls by the keyboard too. The theme wraps tables when the page is there.
const reachable = () => document.querySelectorAll(".md-typeset__scrollwrap").forEach(one => { one.tabIndex = 0; });
reachable();
new MutationObserver(reachable).observe(document.body, { childList: true, subtree: true });
