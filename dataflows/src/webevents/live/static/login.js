if (location.search === "?wrong") {
  document.getElementById("wrong").textContent = "This is not the token.";
}
