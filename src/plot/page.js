"use strict";
const tip = document.getElementById("tip");
for (const track of document.querySelectorAll(".track")) {
  const data = JSON.parse(track.querySelector("script").textContent);
  const svg = track.querySelector("svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  line.setAttribute("stroke", "#20242a");
  line.setAttribute("visibility", "hidden");
  svg.append(line);
  const images = [...svg.querySelectorAll("image")];
  svg.addEventListener("mousemove", event => {
    if (!data.x.length) return;
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * data.width;
    let low = 0, high = data.x.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (data.x[middle] < at) low = middle + 1; else high = middle;
    }
    if (low > 0 && at - data.x[low - 1] < data.x[low] - at) low -= 1;
    line.setAttribute("x1", data.x[low]);
    line.setAttribute("x2", data.x[low]);
    line.setAttribute("y1", 26);
    line.setAttribute("y2", 136);
    line.setAttribute("visibility", "visible");
    const time = new Date(data.time[low]).toISOString().replace("T", " ").replace("Z", "");
    tip.replaceChildren(`${data.label} ${data.score[low]} at ${time}`);
    const image = event.target.closest("image") ||
      images.find(image => Math.abs(Number(image.getAttribute("x")) + 44 - data.x[low]) < 12);
    if (image) {
      const large = document.createElement("img");
      large.src = image.getAttribute("href");
      tip.append(large, image.querySelector("title").textContent);
    }
    tip.hidden = false;
    const right = event.pageX + 16 + tip.offsetWidth > document.documentElement.clientWidth;
    tip.style.left = `${right ? event.pageX - 16 - tip.offsetWidth : event.pageX + 16}px`;
    tip.style.top = `${event.pageY + 16}px`;
  });
  svg.addEventListener("mouseleave", () => {
    tip.hidden = true;
    line.setAttribute("visibility", "hidden");
  });
}
