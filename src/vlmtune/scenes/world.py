"""What a scene is: things with a shape, a colour, a size and a place, and nothing drawn yet.

Coordinates are pixels, x to the right and y downwards, as floats. A thing's `column` and `row` are
the cell of its foot point on a 10 x 10 grid over the image; rationales and captions use them, so
that what a model claims to have seen can be checked.
"""

from dataclasses import dataclass

from vlmtune.errors import ConfigError

SHAPES = ("cube", "ball", "cone", "cylinder", "star", "ring")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
TRAY = "tray"
"""The one shape that can hold another; never counted, because what it holds hides part of it."""

FLAT = "flat"
PERSPECTIVE = "perspective"
GRID = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One object.

    Attributes:
        shape: One of SHAPES, or TRAY.
        colour: One of COLOURS.
        size: "small" or "large"; in perspective it is the real size, not the drawn one.
        x: Centre, pixels from the left.
        y: Centre, pixels from the top.
        foot: Where it stands, pixels from the top; equals `y` in a flat scene.
        radius: Half the drawn width and height, pixels.
        ground: (X, Z) on the floor in metres, Z away from the camera; None in a flat scene.
    """

    shape: str
    colour: str
    size: str
    x: float
    y: float
    foot: float
    radius: float
    ground: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """Colour and shape: "red cube"."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A whole scene, enough to draw it and to answer anything about it.

    Attributes:
        mode: FLAT (seen from straight above: above and below mean the picture) or PERSPECTIVE
            (things stand on a floor: in front of and behind mean depth).
        width: Pixels.
        height: Pixels.
        things: From the farthest to the nearest, so that drawing in order is right.
        clutter: 0 for a plain background to 1 for a busy one.
        background: Seeds the background's drawing.
    """

    mode: str
    width: int
    height: int
    things: tuple[Thing, ...]
    clutter: float
    background: int

    @property
    def span(self) -> float:
        """The unit of every margin: the shorter side, pixels."""
        return float(min(self.width, self.height))

    def cell(self, thing: Thing) -> tuple[int, int]:
        """Column and row of a thing's foot on the 10 x 10 grid, both 0..9."""
        column = min(GRID - 1, max(0, int(thing.x / self.width * GRID)))
        row = min(GRID - 1, max(0, int(thing.foot / self.height * GRID)))
        return column, row

    def unique(self) -> tuple[Thing, ...]:
        """Things that their colour and shape alone point out."""
        names = [thing.name for thing in self.things]
        return tuple(thing for thing in self.things if names.count(thing.name) == 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """What scenes to draw.

    Attributes:
        width: Pixels, 64..2048.
        height: Pixels, 64..2048.
        mode: "flat", "perspective" or "mixed" (half of each).
        min_objects: 1..12.
        max_objects: 1..12, at least `min_objects`.
        max_clutter: The busiest background, 0..1.
    """

    width: int = 196
    height: int = 196
    mode: str = "mixed"
    min_objects: int = 1
    max_objects: int = 12
    max_clutter: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            ConfigError: If a value is out of range.
        """
        for side in ("width", "height"):
            if not 64 <= getattr(self, side) <= 2048:
                raise ConfigError(
                    f"scenes option {side} is {getattr(self, side)}; use 64 to 2048 pixels"
                )
        if self.mode not in (FLAT, PERSPECTIVE, "mixed"):
            raise ConfigError(
                f"scenes option mode is {self.mode!r}; use 'flat', 'perspective' or 'mixed'"
            )
        if not 1 <= self.min_objects <= self.max_objects <= 12:
            raise ConfigError(
                f"scenes options min_objects {self.min_objects} and max_objects "
                f"{self.max_objects} must satisfy 1 <= min_objects <= max_objects <= 12"
            )
        if not 0.0 <= self.max_clutter <= 1.0:
            raise ConfigError(f"scenes option max_clutter is {self.max_clutter}; use 0 to 1")
