/* Say in words why a passkey was not made or used, where the page would say nothing. */
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  const place = document.getElementById("passkey-trouble");
  if (!place) return;
  const error = event.detail.exception || {};
  const said = {
    NotAllowedError: "It was cancelled, or took too long.",
    SecurityError: "Browsers keep passkeys to names: open this site under its name (localhost, not 127.0.0.1) and over https.",
    InvalidStateError: "This device has a passkey for your account already.",
  };
  place.textContent = said[error.name] || `The browser refused: ${error.message || error}`;
  place.hidden = false;
});
