"""The page in a real browser: headless Chromium, opened from disk, its console and its network watched."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aliasing.report import write_report
from tests.browser import chromium, unreadable
from tests.report_runs import HOSTILE
from tests.test_report import poisoned

pytest.importorskip("selenium")
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

FOLDERS = ("crop", "grid", "depth", "attribution", "spectrum", "features", "cure")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def report(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of every kind of run."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert write_report([measured / folder for folder in FOLDERS], path) == []
    return path


def open_page(browser: Any, path: Path, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
    """Open a page from disk."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    for log in ("browser", "performance"):
        browser.get_log(log)  # what was there before
    browser.get(path.as_uri())


def one(browser: Any, selector: str) -> Any:
    return browser.find_element(By.CSS_SELECTOR, selector)


def requests(browser: Any) -> set[str]:
    """Every address that the page has asked for."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return {params["request"]["url"] for params in sent if not params["documentURL"].startswith("chrome:")}


def test_it_opens_from_disk_with_a_clean_console_and_asks_for_nothing(browser: Any, report: Path) -> None:
    open_page(browser, report)
    assert browser.get_log("browser") == []
    asked = requests(browser)
    assert report.as_uri() in asked
    assert [address for address in asked - {report.as_uri()} if not address.startswith("data:")] == []
    marks = "return [...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('svg path, svg text').length)"
    assert min(browser.execute_script(marks)) > 5
    sizes = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt)"
    assert browser.execute_script(sizes) == []
    # The policy holds: what the page did not bring is refused, and said so.
    probe = "fetch('http://127.0.0.1:9/').then(() => arguments[0]('fetched'), () => arguments[0]('refused'))"
    assert browser.execute_async_script(probe) == "refused"
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_the_slider_moves_the_photograph_by_keyboard(browser: Any, report: Path) -> None:
    open_page(browser, report)
    box, slider = one(browser, "#move-1 .explorer"), one(browser, "#move-1 input[type=range]")
    data = json.loads(box.find_element(By.CSS_SELECTOR, ".data").get_attribute("textContent"))
    photograph = data["photographs"][0]
    # The upright line stands on the point of the view that is shown, and the chart is that of the photograph.
    apart = """const chart = document.querySelector('#move-1 .of-photograph:not([hidden])');
        const middle = (e) => (({left, width}) => left + width / 2)(e.getBoundingClientRect());
        return middle(chart.querySelector('.here')) - middle(chart.querySelectorAll('use:has(title)')[arguments[0]])"""
    assert abs(browser.execute_script(apart, 0)) < 1
    for view in (1, 2):
        slider.send_keys(Keys.ARROW_RIGHT)
        shown = photograph["views"][view]
        assert box.find_element(By.CSS_SELECTOR, ".view img").get_attribute("src") == shown["picture"]
        assert shown["where"] in one(browser, "#move-1 .where").text
        assert shown["where"] in slider.get_attribute("aria-valuetext")
        for row, network in zip(
            box.find_elements(By.CSS_SELECTOR, ".answers tbody tr"), photograph["networks"], strict=True
        ):
            assert network["name"] in row.text
            assert all(text in row.text for text in network["cells"][view])
            assert network["told"][view] in one(browser, "#move-1 [aria-live=polite]").get_attribute("textContent")
        assert abs(browser.execute_script(apart, view)) < 1 < abs(browser.execute_script(apart, view - 1))
    slider.send_keys(Keys.END)
    assert photograph["views"][-1]["where"] in one(browser, "#move-1 .where").text

    Select(one(browser, "#move-1 select")).select_by_index(3)
    assert data["photographs"][3]["name"] in one(browser, "#move-1 .view img").get_attribute("alt")
    assert slider.get_attribute("value") == "0"
    said = "return document.querySelector('#move-1 .of-photograph:not([hidden]) title').textContent"
    first = data["photographs"][3]["networks"][0]
    assert first["told"][0] in browser.execute_script(said)
    play = one(browser, "#move-1 .play")
    play.send_keys(Keys.SPACE)
    WebDriverWait(browser, 10).until(lambda _: slider.get_attribute("value") != "0")
    assert play.get_attribute("aria-pressed") == "true"
    play.send_keys(Keys.SPACE)
    assert play.get_attribute("aria-pressed") == "false"
    assert browser.get_log("browser") == []


def test_a_photograph_on_a_grid_moves_in_both_directions(browser: Any, report: Path) -> None:
    open_page(browser, report)
    assert one(browser, "#move-1 .view").get_attribute("tabindex") is None  # a path has one direction
    assert "in both directions" in one(browser, "#move-2").text
    data = json.loads(one(browser, "#move-2 .data").get_attribute("textContent"))
    shifts = [tuple(view["shift"]) for view in data["photographs"][0]["views"]]
    assert set(shifts) == {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    picture, slider = one(browser, "#move-2 .view"), one(browser, "#move-2 input[type=range]")

    def shift() -> tuple[float, float]:
        return shifts[int(slider.get_attribute("value"))]

    assert shift() == (0, 0)
    around = [(Keys.ARROW_UP, (-1, 0)), (Keys.ARROW_LEFT, (-1, -1)), (Keys.ARROW_DOWN, (0, -1))]
    for key, expected in [*around, *((Keys.ARROW_RIGHT, (0, right)) for right in (0, 1, 1))]:
        picture.send_keys(key)
        assert shift() == expected
    view = shifts.index((0, 1)) + 1  # the axis counts as the text does, from 1
    assert one(browser, "#move-2 .where").text == f"View {view}: moved 1 right px"
    ticks = (
        "return [...document.querySelectorAll('#move-2 .of-photograph:not([hidden]) svg text')].map(t => t.textContent)"
    )
    assert browser.execute_script(ticks)[:9] == [str(number) for number in range(1, 10)]
    announced = one(browser, "#move-2 [aria-live=polite]").get_attribute("textContent")
    assert data["photographs"][0]["networks"][0]["told"][shifts.index((0, 1))] in announced

    image = one(browser, "#move-2 .view img")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", image)
    pixel = image.size["width"] // 4  # of the three columns
    ActionChains(browser).move_to_element(image).click_and_hold().move_by_offset(-pixel, pixel).perform()
    assert shift() == (1, 0)
    ActionChains(browser).move_by_offset(-pixel, 0).release().move_by_offset(pixel, -pixel).perform()
    assert shift() == (1, -1)  # where it was let go
    assert browser.get_log("browser") == []


def test_the_table_is_sorted_by_mouse_and_by_keyboard(browser: Any, report: Path) -> None:
    open_page(browser, report)
    table = "#networks-1 table[data-sortable]"
    heads = browser.find_elements(By.CSS_SELECTOR, f"{table} thead")[0].find_elements(By.TAG_NAME, "th")
    titles = [head.text.split("\n")[0].strip(" ↕↑↓") for head in heads]

    def column(name: str) -> list[str]:
        place = titles.index(name) + 1
        cells = one(browser, table).find_elements(By.CSS_SELECTOR, f"tbody > tr > :nth-child({place})")
        return [cell.get_attribute("data-sort") for cell in cells]

    for name, press in (("mean absolute change", "click"), ("network", Keys.ENTER), ("P(top-1 change)", Keys.SPACE)):
        head = heads[titles.index(name)]
        button = head.find_element(By.TAG_NAME, "button")
        orders = []
        for _ in range(2):
            browser.execute_script(
                "arguments[0].scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'})", button
            )
            button.click() if press == "click" else button.send_keys(press)
            order = head.get_attribute("aria-sort")
            orders.append(order)
            shown = column(name) if name == "network" else [float(value) for value in column(name)]
            assert shown == sorted(shown, reverse=order == "descending")
        assert set(orders) == {"ascending", "descending"}
        assert [h.get_attribute("aria-sort") for h in heads if h is not head].count("none") == len(heads) - 1


@pytest.mark.parametrize("folder", ["crop", "spectrum", "depth"])
def test_markup_in_names_and_answers_does_nothing(browser: Any, measured: Path, tmp_path: Path, folder: str) -> None:
    path = tmp_path / "report.html"
    write_report(poisoned(measured / folder, tmp_path / "run"), path, title=f"</title>{HOSTILE}")
    open_page(browser, path)
    if folder == "crop":  # what the script writes into the page is text as well
        one(browser, "#move-1 input[type=range]").send_keys(Keys.ARROW_RIGHT)
    assert browser.get_log("browser") == []  # no script was refused either: there was none to run
    assert HOSTILE in one(browser, "h1").text
    assert (
        browser.execute_script("return document.querySelectorAll('img[src=x], [onerror], a[href^=java]').length") == 0
    )
    assert {address for address in requests(browser) if not address.startswith("data:")} == {path.as_uri()}


def test_it_is_readable_on_a_phone(browser: Any, report: Path) -> None:
    """Nothing makes the page wider than 360 pixels, with every box unfolded."""
    open_page(browser, report, width=360, height=740)
    browser.execute_script("document.querySelectorAll('details').forEach(box => box.open = true)")
    WebDriverWait(browser, 10).until(
        lambda chrome: chrome.execute_script("return document.documentElement.scrollWidth") <= 360
    )
    wide = """return [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > 361
        && !e.closest('.scroll, .strip, .visually-hidden, svg')).map(e => e.outerHTML.slice(0, 120))"""
    assert browser.execute_script(wide) == []
    cut = """return [...document.querySelectorAll('.scroll:not(.plain-caption) caption span')]
        .filter(c => c.getBoundingClientRect().right > 361).map(c => c.textContent)"""
    assert browser.execute_script(cut) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_everything_on_the_page_can_be_read(browser: Any, report: Path, width: int, scheme: str) -> None:
    """No text is cut, broken to letters or upon another; text, lines and points have the contrast of WCAG AA."""
    open_page(browser, report, width=width, scheme=scheme)
    assert unreadable(browser) == []


FAULTS = {
    "cut": '<p style="width:4em; overflow:hidden; white-space:nowrap">not all of this is seen</p>',
    "9.0 pixels of text in a chart": '<svg width="90" height="20"><text y="15" font-size="9">small</text></svg>',
    "contrast 2.3 of text": '<p style="color:#aaa; background:#fff">pale</p>',
    "a word broken to letters": '<p style="width:1.5em; overflow-wrap:anywhere">letters</p>',
    "wider than the window": '<div style="width:3000px; height:1px"></div>',
    "outside the page": '<p style="position:relative; left:-300px">gone</p>',
    "outside its chart": '<svg width="90" height="20" overflow="visible"><text x="80" y="15">beyond</text></svg>',
    "texts upon one another": '<svg width="90" height="20"><text y="15">one</text><text x="9" y="15">two</text></svg>',
    "contrast 1.0 of text": '<svg width="90" height="20"><rect width="90" height="20"/><text y="15">dark</text></svg>',
    "contrast 1.6 of a line": '<p class="plot"><svg><path d="M0 0H9" style="--s0:#ccc;stroke:var(--s0)"/></svg></p>',
    "contrast 1.6 of a swatch": '<p><span class="swatch" style="background:#ccc"></span>a network</p>',
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_page_that_cannot_be_read_is_found(browser: Any, report: Path, tmp_path: Path, fault: str) -> None:
    """Each kind of fault, put into a page on purpose, is complained about, and nothing else is."""
    style = report.read_text(encoding="utf-8").partition("<style>")[2].partition("</style>")[0]
    broken = tmp_path / "broken.html"
    broken.write_text(f"<!doctype html><style>{style}</style><body><div>{FAULTS[fault]}</div></body>", encoding="utf-8")
    open_page(browser, broken, width=390)
    assert {complaint.partition(":")[0] for complaint in unreadable(browser)} == {fault}


def test_tables_stay_tables_for_screen_readers_on_a_phone(browser: Any, report: Path) -> None:
    """There a table is blocks, which some browsers take for text, unless its parts say what they are."""
    open_page(browser, report, width=390)
    roles = """return [...document.querySelectorAll('table.stacked')].flatMap(t => [t, ...t.querySelectorAll('*')])
        .filter(e => /^(TABLE|THEAD|TBODY|TR|TH|TD)$/.test(e.tagName))
        .map(e => `${e.tagName} ${e.scope ?? ''}`.trim() + ': ' + e.getAttribute('role'))"""
    assert {*browser.execute_script(roles)} == {
        *("TABLE: table", "THEAD: rowgroup", "TBODY: rowgroup", "TR: row"),
        *("TH col: columnheader", "TH row: rowheader", "TD: cell"),
    }


def test_each_word_leads_to_its_meaning_once_a_section(browser: Any, report: Path) -> None:
    open_page(browser, report)
    links = """return [...document.querySelectorAll('main > section')].map(
        section => [...section.querySelectorAll('a.word')].map(link => link.getAttribute('href')))"""
    sections = browser.execute_script(links)
    assert sum(map(len, sections)) > 30
    for hrefs in sections:
        assert len(hrefs) == len(set(hrefs))
    missing = (
        "return [...document.querySelectorAll('a.word')].filter(link => !document.querySelector(link.hash)).length"
    )
    assert browser.execute_script(missing) == 0
    link = one(browser, "#depth-1 a.word")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", link)
    link.click()
    meaning = one(browser, link.get_attribute("hash"))
    WebDriverWait(browser, 10).until(lambda _: meaning.is_displayed())  # the folded list is unfolded


def test_light_and_dark(browser: Any, report: Path) -> None:
    """The system's choice, then the button's; body text and quiet text keep a contrast of at least 4.5 (WCAG AA)."""

    def colours() -> dict[str, tuple[float, ...]]:
        script = "return ['--paper', '--ink', '--muted', '--accent', '--caution'].map(n => [n, getComputedStyle("
        script += "document.documentElement).getPropertyValue(n).trim()])"
        return {n: tuple(int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)) for n, c in browser.execute_script(script)}

    def luminance(colour: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    inks = set()
    for scheme in ("light", "dark"):
        open_page(browser, report, scheme=scheme)
        # The charts are of the page's colours: their text is its ink, whichever that is.
        ink = "return ['body', '.plot text:not([style*=fill])'].map(s => getComputedStyle(document.querySelector(s)))"
        body, drawn = browser.execute_script(ink + ".map((style, k) => k ? style.fill : style.color)")
        assert body == drawn
        inks.add(drawn)
        seen = []
        for _ in range(2):
            found = {name: luminance(colour) for name, colour in colours().items()}
            paper = found.pop("--paper")
            seen.append(paper < 0.5)
            background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(255, 255, 255)") == (paper > 0.5)
            for name, ink in found.items():
                assert (max(paper, ink) + 0.05) / (min(paper, ink) + 0.05) >= 4.5, (scheme, name)
            assert one(browser, "#theme").text == f"Switch to {'light' if seen[-1] else 'dark'}"
            one(browser, "#theme").click()
        assert seen == ([False, True] if scheme == "light" else [True, False])
    assert len(inks) == 2


def test_what_a_screen_reader_needs_is_there(browser: Any, report: Path) -> None:
    open_page(browser, report)
    missing = """
        const named = (e) => e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim();
        const checks = {
            'an image without text': [...document.images].filter(i => !i.alt),
            'a chart without text': [...document.querySelectorAll('.plot')].filter(
                p => p.getAttribute('role') !== 'img' || p.getAttribute('aria-label').length < 20),
            'a table without caption': [...document.querySelectorAll('table')].filter(t => !t.caption?.textContent),
            'a head without scope': [...document.querySelectorAll('th')].filter(h => !h.scope),
            'a control without name': [...document.querySelectorAll('button, select, input')].filter(e => !named(e)),
            'a region without name': [...document.querySelectorAll('section, [role=region], nav')].filter(
                r => !(r.getAttribute('aria-label') || document.getElementById(r.getAttribute('aria-labelledby')))),
            'more or less than one h1': document.querySelectorAll('h1').length === 1 ? [] : ['h1'],
            'no language': document.documentElement.lang ? [] : ['lang'],
        };
        return Object.entries(checks).filter(([, found]) => found.length).map(([what]) => what);"""
    assert browser.execute_script(missing) == []
    one(browser, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("class") == "skip"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.execute_script(outline) == "solid"
