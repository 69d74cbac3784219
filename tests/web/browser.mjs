// Drives the page in headless Chromium: node browser.mjs SETTINGS.json, which names the browser, the addresses of the
// page with and without isolation, a picture, and a folder for screenshots and downloads. Prints what was found as JSON.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const settings = JSON.parse(await readFile(process.argv[2], "utf8"));
const require = createRequire(join(here, "../../web/package.json"));
const { chromium } = require("playwright-core");
const ANSWER = 30_000;

const browser = await chromium.launch({
  executablePath: settings.chromium,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
  ],
});
const found = { complaints: [], requests: [] };

/** A page of a context of its own, whose complaints and requests are kept. */
async function open(address, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.on("console", (line) => found.complaints.push(`${line.type()}: ${line.text()}`));
  page.on("pageerror", (error) => found.complaints.push(error.message));
  page.on("request", (request) => found.requests.push(request.url()));
  await page.goto(address);
  return page;
}

async function answered(page, count) {
  const enough = (least) => Number(document.body.dataset.answered ?? 0) >= least;
  await page.waitForFunction(enough, count, { timeout: ANSWER });
}

const text = (page, id) => page.locator(`#${id}`).innerText();
const shot = (page, name) => page.screenshot({ path: join(settings.out, `${name}.png`), fullPage: true });

async function save(page, title, name) {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: title, exact: true }).click(),
  ]);
  await download.saveAs(join(settings.out, name));
  return download.suggestedFilename();
}

async function plain() {
  const page = await open(settings.plain);
  await answered(page, 1);
  await page.locator("#files").setInputFiles([settings.picture, settings.damaged]);
  await answered(page, 2);
  const result = {
    isolated: await page.evaluate(() => crossOriginIsolated),
    speed: await text(page, "speed"),
    legend: await page.locator("#legend tr").allInnerTexts(),
    agreement: await text(page, "agreement"),
    described: await page.locator("#canvas").getAttribute("aria-label"),
    names: [
      await save(page, "Label PNG of baseline", "plain-baseline.png"),
      await save(page, "Label PNG of student", "plain-student.png"),
      await save(page, "Overlay of student", "plain-overlay.png"),
    ],
  };
  const box = await page.locator("#canvas").boundingBox();
  await page.mouse.move(box.x + box.width / 4, box.y + box.height / 4);
  result.hover = await text(page, "readout");
  await page.locator("#canvas").focus();
  for (const key of ["ArrowRight", "Shift+ArrowDown"]) await page.keyboard.press(key);
  result.keyboard = await text(page, "readout");
  await page.mouse.move(box.x + box.width / 2, box.y + 5);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 5, box.y + 5);
  await page.mouse.up();
  result.divider = await page.locator("#divider").inputValue();
  await page.locator("#opacity").focus();
  await page.keyboard.press("End");
  result.opacity = await text(page, "opacity-value");
  await shot(page, "light");
  await page.getByRole("button", { name: "damaged.png" }).click();
  await page.locator("#notice").waitFor({ state: "visible" });
  result.damaged = await text(page, "notice");
  await page.context().close();
  return result;
}

async function isolated() {
  const page = await open(settings.isolated, { colorScheme: "dark", permissions: ["camera"] });
  await answered(page, 1);
  const picture = await readFile(settings.picture, "base64");
  await page.evaluate((encoded) => {
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
  }, picture);
  await answered(page, 2);
  const result = {
    isolated: await page.evaluate(() => crossOriginIsolated),
    speed: await text(page, "speed"),
    background: await page.evaluate(() => getComputedStyle(document.body).backgroundColor),
    names: [await save(page, "Label PNG of baseline", "isolated-baseline.png")],
  };
  await shot(page, "dark");
  const camera = page.getByRole("button", { name: "Camera" });
  await camera.click();
  await answered(page, 5);
  result.camera = await camera.getAttribute("aria-pressed");
  await shot(page, "camera");
  await camera.click();
  result.off = await camera.getAttribute("aria-pressed");
  await page.context().close();
  return result;
}

async function phone() {
  const page = await open(settings.plain, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  await answered(page, 1);
  await shot(page, "phone");
  const result = await page.evaluate(() => ({
    width: document.documentElement.scrollWidth,
    background: getComputedStyle(document.body).backgroundColor,
  }));
  await page.context().close();
  return result;
}

async function asFile() {
  const page = await open(pathToFileURL(settings.file).href);
  await page.locator("#notice").waitFor({ state: "visible" });
  const notice = await text(page, "notice");
  await shot(page, "file");
  await page.context().close();
  return { notice };
}

try {
  for (const [name, part] of Object.entries({ plain, isolated, phone, asFile })) found[name] = await part();
} finally {
  await browser.close();
}
console.log(JSON.stringify(found));
