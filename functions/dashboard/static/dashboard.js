"use strict";
// What pages do more comfortably with a script. All of them work without.

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    announce(button, "Copied");
  } catch {
    getSelection().selectAllChildren(source);
    announce(button, "Selected: copy it");
  }
});

function announce(button, text) {
  const label = button.dataset.label ??= button.textContent;
  button.textContent = text;
  setTimeout(() => { button.textContent = label; }, 2000);
}

// Addresses of views say what is asked for, and nothing else.
document.addEventListener("formdata", (event) => {
  if (event.target.method !== "get") return;
  for (const [name, value] of [...event.formData]) {
    if (value === "") event.formData.delete(name);
  }
});

function showScripted(root) {
  for (const element of root.querySelectorAll("[data-scripted]")) element.hidden = false;
}

document.addEventListener("DOMContentLoaded", () => showScripted(document));
document.addEventListener("htmx:after:swap", () => showScripted(document));
