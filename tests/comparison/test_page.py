"""report.html: what it says and in which order, that it is whole and safe, and how a browser lays it out."""

import base64
import io
import re
import shutil
import subprocess
import threading
from dataclasses import replace
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.comparison import page
from cnnlab.comparison.files import as_markdown
from cnnlab.comparison.page import render_page, write_page
from cnnlab.comparison.pictures import draw_pictures
from cnnlab.comparison.result import Comparison

HOSTILE = ("<script>alert(1)</script>", "\x1b[31mred", '" onerror="alert(1)', "{{ 7 * 6 }}", "‮rtl")
VOID = {"meta", "link", "img", "br", "source", "wbr"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the seconds that matplotlib takes, where a test does not look at figures."""
    monkeypatch.setattr(page, "figures", lambda comparison: {})


@pytest.fixture(scope="module")
def hostile_page(make_comparison, tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, str]:
    """A page with everything on it, and strangers' text wherever there can be some."""
    comparison = make_comparison(
        tmp_path_factory.mktemp("hostile"),
        (HOSTILE[0], HOSTILE[1], "x" * 70),
        seeds=3,
        classes=(*HOSTILE, "a-class-with-a-very-long-name-indeed"),
        file_names=tuple(f"<img src=x onerror=alert({number})>.png" for number in range(80)),
        notices=HOSTILE,
        command=f"cnnlab {HOSTILE[0]}",
        data=HOSTILE[2],
    )
    return comparison, render_page(comparison)


class Reader(HTMLParser):
    """Collects the text and the tags, and demands that every tag be closed by its own name."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_has_every_part_in_its_order(hostile_page: tuple[Comparison, str]) -> None:
    comparison, html = hostile_page
    read = Reader(html)
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings == [
        "Question", "Settings", "Figures", "Results", "Verdict", "Confusion matrices",
        "Images that only one net gets right", "Environment", "Command and recipes",
    ]  # fmt: skip
    answer = comparison.answer.replace("\x1b", "\\x1b")
    assert read.text.index(answer) < read.text.index("Question")
    figures = [image for image in read.all("img") if str(image["src"]).startswith("data:image/svg+xml")]
    assert len(figures) == len(read.all("source")) == 3  # loss, accuracy, gradients, each in two widths
    for picture in [str(image["src"]) for image in figures] + [str(source["srcset"]) for source in read.all("source")]:
        assert b"<svg" in base64.b64decode(picture.partition(",")[2])
    assert all(image["alt"] for image in read.all("img"))
    assert "An <Imaginary> Processor" in read.text
    assert "abc123" in read.text  # the fingerprint of the data


@pytest.mark.usefixtures("no_figures")
def test_the_keys_in_which_recipes_differ_are_told(make_comparison, tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path)
    one, other = comparison.contestants
    recipes = (
        "model: {arch: mlp, dropout: 0.2}\noptim: {lr: 0.1, nesterov: true}\n",
        f"model: {{arch: seq, layers: [{', '.join(['relu'] * 50)}]}}\noptim: {{lr: 0.1, nesterov: null}}\n",
    )
    nets = (replace(one, recipe=recipes[0]), replace(other, recipe=recipes[1]))
    comparison = replace(comparison, contestants=nets)
    rows = dict(page.contents(comparison)["unlike"])
    layers = rows.pop("model.layers")
    assert rows == {"model.arch": ["mlp", "seq"], "model.dropout": ["0.2", "–"], "optim.nesterov": ["true", "null"]}
    assert layers[0] == "–"
    assert len(layers[1]) <= 61
    assert '<code>model.arch</code></th><td class="name" data-column="' in re.sub(
        r">\s+<", "><", render_page(comparison)
    )


@pytest.mark.usefixtures("no_figures")
def test_the_tables_say_what_was_measured(make_comparison, tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, seeds=3)
    html = re.sub(r">\s+<", "><", render_page(comparison))
    text = Reader(html).text
    net, test = comparison.contestants[1], comparison.tests[0]
    accuracy = f"{100 * net.test_acc_mean:.2f} ± {100 * net.test_acc_std:.2f}"
    assert f'<td data-column="test acc. %">{accuracy}</td>' in html  # what a narrow screen shows beside the figure
    assert f'<td data-column="only b right">{test.only_b:,}</td>' in html
    html = re.sub(r' data-column="[^"]*"', "", html)
    cells = ["24,690", "2.5 M", "4,321", f"{net.val_loss:.4f}", f"{net.gap:+.4f}", f"{100 * test.difference:+.2f}"]
    for cell in [*cells, f"{test.only_a:,}", f"{test.only_b:,}", "0.032", "0.046", "0.065"]:
        assert f"<td>{cell}</td>" in html, cell
    right = int(np.trace(net.confusion))
    assert f"{right} of {int(net.confusion.sum())} right" in text
    assert (
        f'<td class="s{-(-10 * net.confusion[0, 0] // net.confusion[0].sum())} right">{net.confusion[0, 0]}</td>'
        in html
    )
    assert "--seeds 3" not in text  # the advice to those with one seed


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("last", "validated", "epoch"),
    [
        ((), True, "the best validation epoch"),
        ((1,), True, "the best validation epoch (the last one of c*n)"),
        ((0, 1), True, "the last epoch"),
        ((), False, "the last epoch"),
    ],
)
def test_what_was_tested_is_said(make_comparison, tmp_path: Path, last, validated: bool, epoch: str) -> None:
    made = make_comparison(tmp_path, ("mlp", "c*n"), validated=validated)
    nets = tuple(replace(net, select="last") if place in last else net for place, net in enumerate(made.contestants))
    made = replace(made, contestants=nets)
    text, markdown = Reader(render_page(made)).text, as_markdown(made)
    assert f"Accuracies and losses at {epoch}." in text
    assert f"those of {epoch}" in text
    assert f"Accuracies in %, at {epoch.replace('*', chr(92) + '*')};" in markdown
    for words in (text, markdown):
        assert ("100 val" in words) == validated
        assert "0 val" not in words.replace("100 val", "")


def test_a_sentence_keeps_the_name_that_it_begins_with() -> None:
    assert page.sentence("cnn is better than mlp") == "cnn is better than mlp."
    assert page.sentence("no difference between a and b is shown.") == "No difference between a and b is shown."


@pytest.mark.usefixtures("no_figures")
def test_a_name_is_broken_between_its_options(make_comparison, tmp_path: Path) -> None:
    html = render_page(make_comparison(tmp_path, ("mlp:depth=1,width=16", "<b>,x")))
    assert "<span>mlp:<wbr>depth=1,<wbr>width=16</span>" in html
    assert "<span>&lt;b&gt;,<wbr>x</span>" in html


def test_of_equals_none_comes_first(make_comparison, tmp_path: Path) -> None:
    made = make_comparison(tmp_path, ("a", "b", "c"))
    level = tuple(replace(net, runs=made.contestants[0].runs) for net in made.contestants)
    tests = tuple(replace(test, better=None) for test in made.tests)
    share = f"{100 * level[0].test_acc_mean:.1f} % of the test images"
    assert replace(made, contestants=level, tests=tests).answer == (
        f"no difference is shown between a, b and c; none has more than {share}"
    )
    assert ", which comes first with " in replace(made, tests=tests).answer


@pytest.mark.usefixtures("no_figures")
def test_stand_in_data_come_before_the_first_sentence(make_comparison, tmp_path: Path) -> None:
    changes = {"fallback": True, "data_requested": "cifar10", "real_command": "cnnlab compare a b --data cifar10"}
    text = Reader(render_page(make_comparison(tmp_path, **changes))).text
    assert text.startswith("Stand-in data. cifar10 could not be found or downloaded: everything below was measured on")
    assert "cnnlab compare a b --data cifar10" in text
    assert "Stand-in" not in Reader(render_page(make_comparison(tmp_path))).text


@pytest.mark.usefixtures("no_figures")
def test_one_seed_and_mere_guessing_are_said(make_comparison, tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, notices=("look here",))
    guesser = replace(comparison.contestants[0], beats_chance=False)
    text = Reader(render_page(replace(comparison, contestants=(guesser, comparison.contestants[1])))).text
    assert "This is one seed" in text
    assert "Not shown to be better than guessing (10.00 %): mlp." in text
    assert "Note: look here" in text


@pytest.mark.parametrize(
    ("select", "heading"), [(("best", "best"), "best epoch"), (("last", "last"), "last epoch"),
                            (("best", "last"), "tested epoch")],
)  # fmt: skip
def test_the_epoch_that_is_tested_is_called_what_it_is(make_comparison, tmp_path: Path, select, heading) -> None:
    comparison = make_comparison(tmp_path)
    contestants = tuple(replace(one, select=kind) for one, kind in zip(comparison.contestants, select, strict=True))
    comparison = replace(comparison, contestants=contestants)
    others = {"best epoch", "last epoch", "tested epoch"} - {heading}
    for text in (as_markdown(comparison), Reader(render_page(comparison)).text):
        assert heading in text
        assert not [other for other in others if other in text]


def test_names_classes_and_files_of_strangers_stay_text(hostile_page: tuple[Comparison, str]) -> None:
    html = hostile_page[1]
    read = Reader(html)
    assert not read.all("script")
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert "\x1b" not in html
    assert "‮" not in html
    assert "{{ 7 * 6 }}" in read.text
    assert "\\x1b[31mred" in read.text
    assert read.text.count("<script>alert(1)</script>") > 5
    assert "cnnlab <script>alert(1)</script>" in read.text
    assert "<img src=x onerror=alert(" in read.text


def test_what_a_strangers_run_says_of_itself_stays_short_and_text(make_comparison, tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path)
    said = {
        "cnnlab": "0.1\x1b[31m\u202e", "packages": {f"p{index}\x1b": "1" for index in range(10_000)},
        "platform": ["x" * 10_000], "started": {"a": ["y" * 10_000]}, "threads": None, "<b>own</b>": "z" * 10_000,
        "data": {"fingerprint": ["\u202e" * 10_000]},
    }  # fmt: skip
    first = comparison.contestants[0]
    runs = (replace(first.runs[0], environment=said), *first.runs[1:])
    contestants = (replace(first, runs=runs), *comparison.contestants[1:])
    shown = dict(page._environment(replace(comparison, contestants=contestants).environment))
    assert shown["cnnlab"] == r"0.1\x1b[31m\u202e"
    assert shown["packages"].startswith(r"p0\x1b 1, p1\x1b 1")
    assert set(shown) == {"cnnlab", "packages", "platform", "started", "data fingerprint"}
    assert all(value.isprintable() and len(value) < 3_000 for value in shown.values())


def test_nothing_outside_the_page_is_named(hostile_page: tuple[Comparison, str]) -> None:
    html = hostile_page[1]
    for tag, attributes in Reader(html).tags:
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            assert str(attributes.get(name, "data:")).startswith("data:"), (tag, name)
    assert not re.search(r"@import|url\(|<script|<iframe|<object|<embed", re.sub(r"base64,[^\"]+", "", html))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert policy.group(1).startswith("default-src 'none'")


@pytest.mark.usefixtures("no_figures")
def test_images_that_one_net_alone_gets_right(make_comparison, tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, ("a", "b", "c"), images=200)
    groups, note = page.only_right(comparison)
    correct = np.array([contestant.runs[0].correct for contestant in comparison.contestants])
    for number, group in enumerate(groups):
        alone = correct[number] & (correct.sum(axis=0) == 1)
        assert group.count == alone.sum() > 0
        assert len(group.thumbnails) == min(12, group.count)
        shown = [int(image.title.removeprefix("test image ")) for image in group.thumbnails]
        assert alone[shown].all()
        confidence = comparison.contestants[number].runs[0].confidence
        assert confidence[shown].tolist() == sorted(confidence[alone], reverse=True)[: len(shown)]
        first = group.thumbnails[0]
        with Image.open(io.BytesIO(base64.b64decode(first.picture.partition(",")[2]))) as image:
            np.testing.assert_array_equal(np.asarray(image), comparison.test.images[shown[0]][:, :, 0])
        assert first.label == comparison.classes[comparison.test.labels[shown[0]]]
        others = {
            net.runs[0].predictions[shown[0]] for place, net in enumerate(comparison.contestants) if place != number
        }
        assert all(comparison.classes[prediction] in first.others for prediction in others)
    assert f"{correct.all(axis=0).sum()} are right with every net, {(~correct.any(axis=0)).sum()} with none" in note


@pytest.mark.usefixtures("no_figures")
def test_many_classes_and_large_images_stay_small(make_comparison, tmp_path: Path) -> None:
    classes = tuple(f"class {number}" for number in range(100))
    comparison = make_comparison(tmp_path, classes=classes, images=300, shape=(400, 300, 3))
    html = render_page(comparison)
    assert len(html) < 4_000_000
    read = Reader(html)
    assert len([image for image in read.all("img") if image.get("class") == "matrix"]) == 2
    assert 'class="confusion"' not in html


def test_pictures_and_page_are_written_in_whole(make_comparison, tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, gradients=False, validated=False, epochs=1)
    written = [*draw_pictures(comparison), write_page(comparison)]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == sorted(path.name for path in written)
    assert {path.name for path in written} == {"loss.png", "loss.svg", "accuracy.png", "accuracy.svg", "report.html"}
    assert "there is no validation part" in (tmp_path / "report.html").read_text(encoding="utf-8")


HARNESS = """<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,"><body><script>
const found = [];
let left = 2;
for (const width of [1280, 390]) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width:${width}px;height:900px;border:0`;
  frame.onload = () => {
    const inside = frame.contentWindow, page = inside.document;
    const say = (what) => found.push(`${width}: ${what}`);
    if (inside.innerWidth !== width) say(`is ${inside.innerWidth} wide`);
    if (page.scrollingElement.scrollWidth > width) say(`scrolls to ${page.scrollingElement.scrollWidth}`);
    for (const element of page.querySelectorAll("main *")) {
      const box = element.getBoundingClientRect(), scrolls = element.closest(".scroll");
      if (!scrolls && (box.right > width + 0.5 || box.left < -0.5)) say(`${element.tagName} is cut off`);
      if (element.tagName === "IMG" && !(element.complete && element.naturalWidth)) say("a picture is missing");
      const style = inside.getComputedStyle(element);
      const fits = width === 1280 || element.querySelector(".records");
      if (fits && element.className === "scroll" && element.scrollWidth > element.clientWidth)
        say("a table does not fit");
      if (!scrolls && style.overflowX !== "visible" && element.scrollWidth > element.clientWidth + 1)
        say(`${element.tagName} hides a part of itself`);
    }
    const parts = [...page.querySelectorAll("main > *, section > *, figure > *, .thumbnails > *, .side-by-side > *")];
    for (const part of parts) {
      const next = part.nextElementSibling;
      if (!next) continue;
      const a = part.getBoundingClientRect(), b = next.getBoundingClientRect();
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 1) say(`${part.tagName} lies on ${next.tagName}`);
    }
    if (--left === 0) document.title = found.length ? found.join("; ") : "all well";
  };
  frame.src = "/report.html";
  document.body.append(frame);
}
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this system")
def test_a_browser_lays_it_out_at_both_widths_without_a_word_or_a_request(
    hostile_page: tuple[Comparison, str], tmp_path: Path
) -> None:
    said, asked, title = browse(hostile_page[1], tmp_path)
    assert title == "all well"
    assert said == []
    assert set(asked) <= {"/", "/report.html"}


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this system")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "seen"),
    [
        ('<div style="width:700px">wide</div>', "390: scrolls to"),
        ('<img src="/missing.png">', "a picture is missing"),
        ('<p>one</p><p style="margin-top:-30px">two</p>', "lies on"),
    ],
)
@pytest.mark.usefixtures("no_figures")
def test_the_browser_test_sees_what_is_wrong(make_comparison, tmp_path: Path, planted: str, seen: str) -> None:
    html = render_page(make_comparison(tmp_path)).replace("</main>", f"<section>{planted}</section></main>")
    said, _, title = browse(html, tmp_path)
    assert seen in title
    assert bool(said) == ("missing" in planted)  # refused by the page's own policy, on the console


def browse(html: str, folder: Path) -> tuple[list[str], list[str], str]:
    """What the console said, what was asked of the server, and what the harness found, of a page in Chromium."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = {"/": HARNESS, "/report.html": html}.get(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((content or "").encode())

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        ended = subprocess.run(
            [
                str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,2000",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--enable-logging=stderr", "--no-first-run",
                "--disable-background-networking", f"--user-data-dir={folder / 'chromium'}",
                "--virtual-time-budget=20000", "--dump-dom", f"http://127.0.0.1:{port}/",
            ],
            capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=120, check=False,
        )  # fmt: skip
        server.shutdown()
    said = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    title = re.search(r"<title>(.*?)</title>", ended.stdout)
    return said, asked, "" if title is None else title.group(1)
