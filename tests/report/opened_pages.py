"""What a report shows in a browser."""

from __future__ import annotations

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait


def find(driver, selector):
    return driver.find_element(By.CSS_SELECTOR, selector)


def cells(driver, column):
    heads = [cell.text for cell in driver.find_elements(By.CSS_SELECTOR, ".dt-scroll-head th")]
    rows = driver.find_elements(By.CSS_SELECTOR, "#stimuli-table tbody tr")
    return [row.find_elements(By.TAG_NAME, "td")[heads.index(column)].text for row in rows]


def panels(driver):
    """Return address, width in the file and width on the screen of what is shown side by side."""
    WebDriverWait(driver, 20).until(
        lambda one: one.execute_script(
            "return [...document.querySelectorAll('#panels img')].every((i) => i.complete)"
        )
    )
    script = (
        "return [...document.querySelectorAll('#panels img')]"
        ".map((i) => [i.src, i.naturalWidth, i.clientWidth, getComputedStyle(i).imageRendering])"
    )
    return driver.execute_script(script)
