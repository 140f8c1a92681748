// Sends a form that carries a message to another site, as the person's browser has to; without this, its button does.
"use strict";

document.addEventListener("DOMContentLoaded", () => document.querySelector("form[data-send]")?.submit());
