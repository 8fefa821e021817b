"""Detection of the board, and board files."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.core.reading import Role
from edge_inference.errors import ConfigError
from edge_inference.platforms.board_files import Board, detect_board, find_board, load_boards
from machine_files import MemoryFiles

SHIPPED = Path(__file__).parents[2] / "config" / "platforms"
LOWEST = "description: it\nfallback: true\n"


@pytest.fixture(scope="module")
def boards() -> list[Board]:
    return load_boards([SHIPPED])


def written(folder: Path, text: str, name: str = "mine") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("compatible", "name"),
    [
        ("nvidia,p3450-0000\0nvidia,tegra210\0", "jetson_nano"),
        ("nvidia,jetson-nano\0nvidia,tegra210\0", "jetson_nano"),
        ("nvidia,p2972-0000\0nvidia,tegra194\0", "jetson_xavier"),
        ("nvidia,p3509-0000+p3668-0000\0nvidia,tegra194\0", "jetson_xavier"),
        ("nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0", "jetson_orin"),
        ("maker,carrier\0nvidia,tegra234\0", "jetson_orin"),
        ("nvidia,p3971-0089+p3834-0008\0nvidia,tegra264\0", "jetson_thor"),
        ("raspberrypi,5-model-b\0brcm,bcm2712\0", "raspberry_pi"),
        ("acme,board\0acme,chip\0", "generic"),
        ("", "generic"),
    ],
)
def test_device_tree_selects_the_board(boards: list[Board], compatible: str, name: str) -> None:
    files = MemoryFiles({"proc/device-tree/compatible": compatible})
    assert detect_board(files, boards).name == name


def test_firmware_selects_a_pc(boards: list[Board]) -> None:
    files = {"sys/class/dmi/id/sys_vendor": "ASUS\n", "sys/class/dmi/id/product_name": "PN64\n"}
    assert detect_board(MemoryFiles(files), boards).name == "pc"


def test_unknown_machine_gets_the_fallback_board(boards: list[Board]) -> None:
    assert detect_board(MemoryFiles({}), boards).name == "generic"


def test_without_a_fallback_an_unknown_machine_is_an_error(tmp_path: Path) -> None:
    boards = load_boards([written(tmp_path, "description: it\ncompatible: [a]\n")])
    with pytest.raises(ConfigError, match="none of mine"):
        detect_board(MemoryFiles({}), boards)


def test_most_specific_compatible_entry_wins(tmp_path: Path) -> None:
    written(tmp_path, "description: chip\ncompatible: ['nvidia,tegra234']\n", "a_chip")
    written(tmp_path, "description: robot\ncompatible: ['acme,robot']\n", "robot")
    files = MemoryFiles({"proc/device-tree/compatible": "acme,robot\0nvidia,tegra234\0"})
    assert detect_board(files, load_boards([tmp_path])).name == "robot"


def test_the_first_folder_wins(tmp_path: Path) -> None:
    mine = written(tmp_path, LOWEST, "jetson_orin")
    found = {board.name: board for board in load_boards([mine, SHIPPED])}
    assert found["jetson_orin"].settings.description == "it"
    assert "jetson_nano" in found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fallback: true\n", "description"),
        (LOWEST + "controll: [a]\n", "line 3.*controll.*control"),
        (LOWEST + "control: zone/tj\n", "line 3, control: expected a list"),
        (LOWEST + "min_c: 130\n", "must be below"),
        (LOWEST + "max_jump_c: 0\n", "at least 1"),
        ("description: it\n", "nothing identifies the board"),
        ("", "empty"),
    ],
)
def test_invalid_board_file_error_names_the_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_boards([written(tmp_path, text)])


@pytest.mark.parametrize("folders", [[], [Path("no/such/folder")]])
def test_no_board_files_is_an_error(folders: list[Path]) -> None:
    with pytest.raises(ConfigError, match=r"expected <board>.yaml in"):
        load_boards(folders)


def test_find_board_by_name(boards: list[Board]) -> None:
    assert find_board("jetson_thor", boards).name == "jetson_thor"
    with pytest.raises(ConfigError, match="did you mean 'jetson_orin'"):
        find_board("jetson_orion", boards)


def test_shipped_jetsons_list_the_placeholder_zone(boards: list[Board]) -> None:
    for board in boards:
        if board.name.startswith("jetson") or board.name == "generic":
            assert board.is_placeholder("zone/PMIC-Die"), board.name
            assert board.control_names(["zone/PMIC-Die"]) == set(), board.name


def test_agx_orin_has_no_total_power_rail(boards: list[Board]) -> None:
    orin = find_board("jetson_orin", boards)
    for rail in ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"):
        assert orin.power_role(f"rail/{rail}") is Role.NONE
    assert orin.power_role("rail/VDD_IN") is Role.TOTAL_POWER


def test_tj_is_the_control_temperature_if_present(boards: list[Board]) -> None:
    orin = find_board("jetson_orin", boards)
    assert orin.control_names(["zone/cpu-thermal", "zone/tj-thermal"]) == {"zone/tj-thermal"}
    assert orin.control_names(["zone/CPU-therm", "zone/Tj-therm"]) == {"zone/Tj-therm"}
    assert orin.control_names(["zone/cpu-thermal", "zone/x"]) == {"zone/cpu-thermal"}
    assert orin.control_names([]) == set()


def test_placeholder_is_never_a_control_temperature(tmp_path: Path) -> None:
    text = LOWEST + "control: ['zone/*']\nplaceholders: ['*-Die']\n"
    (board,) = load_boards([written(tmp_path, text)])
    assert board.control_names(["zone/CPU", "zone/PMIC-Die"]) == {"zone/CPU"}
