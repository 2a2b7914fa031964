() => {
  // Gradio leaves some of its controls without a name; screen readers need one.
  const name = () => {
    document.querySelectorAll("button:not([aria-label])").forEach((button) => {
      if (button.textContent.trim()) return;
      const from = button.title || (button.closest("[id]") || {}).id || "";
      button.setAttribute("aria-label", from || "Button");
    });
    document.querySelectorAll("input[type=file]:not([aria-label])").forEach((input) => {
      input.setAttribute("aria-label", "Choose files");
    });
    document.querySelectorAll("img:not([alt])").forEach((image) => image.setAttribute("alt", ""));
    document.querySelectorAll("div[aria-label]:not([role])").forEach((box) => {
      box.setAttribute("role", "group");
    });
  };
  name();
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
}
