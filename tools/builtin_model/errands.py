"""Tools beyond weather, time and sums: what they are called with, and who asks for it how.

Every errand copies what the user names into one or two parameters; a command takes none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from .places import city, invented_name

_WORDS = (
    "old", "ships", "small", "cats", "red", "lamps", "green", "tea", "night", "trains", "paper",
    "boats", "stone", "bridges", "warm", "bread", "maps", "quiet", "lakes", "good", "books", "new",
    "phones", "garden", "tools", "music", "rain", "cold", "milk", "late", "ready", "thanks",
)  # fmt: skip


def _words(rng: Random) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(1, 4)))


def _letters(rng: Random) -> str:
    return "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(2, 4)))


def _number(rng: Random) -> str:
    prefix = rng.choice(("", "", f"{rng.choice('ABCDEFGHIJKLMNOPQRSTUVWXYZ')}-"))
    return f"{prefix}{rng.randint(1, 99999)}"


def _clock(rng: Random) -> str:
    return f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"


def _one_of(*values: str) -> Callable[[Random], str]:
    return lambda rng: rng.choice(values)


@dataclass(frozen=True)
class Errand:
    """A kind of tool, requests for it, and what its parameters are called and filled with.

    Attributes:
        requests: Templates in which `{x}` is the first parameter's value and `{y}` the second's.
        first, second: Names of the parameter; empty where there is none.
        enum: The second parameter's values, where callers declare them.
    """

    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    requests: tuple[str, ...]
    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    first_value: Callable[[Random], str] = _words
    second_value: Callable[[Random], str] = _words
    enum: tuple[str, ...] = ()


_LANGUAGES = (
    "French", "German", "Spanish", "Italian", "Chinese", "Japanese", "Russian", "Greek", "Turkish",
    "Polish", "Dutch", "Swedish", "Arabic", "Hindi", "Korean", "Portuguese",
)  # fmt: skip

ERRANDS: dict[str, Errand] = {
    "translation": Errand(
        ("translate", "translate_text", "translator", "translateText"),
        ("Translate a text.", "Translate text into another language", "Translates a text."),
        ('Translate "{x}" into {y}.', 'Translate "{x}" to {y}', 'What is "{x}" in {y}?',
        'How do you say "{x}" in {y}?', 'Please translate "{x}" to {y}.'),
        ("text", "input", "sentence", "source_text"),
        ("target_language", "language", "target", "to"),
        _words, _one_of(*_LANGUAGES),
    ),
    "message": Errand(
        ("send_message", "send_email", "sendEmail", "email", "send_sms", "notify"),
        ("Send a message.", "Send an email to a person", "Sends a text message.",
        "Send a message to a recipient."),
        ('Send "{y}" to {x}.', 'Send {x} the message "{y}".', 'Tell {x} "{y}".',
        'Write to {x}: "{y}"', 'Please send a message to {x}: "{y}"'),
        ("to", "recipient", "name", "address"),
        ("body", "message", "text", "content"),
        invented_name, _words,
    ),
    "stock": Errand(
        ("get_stock_price", "stock_price", "getStockPrice", "get_quote", "quote"),
        ("Get the price of a stock.", "Get the current stock price", "Look up a stock's price."),
        ("What is the price of {x}?", "What's the stock price of {x}?", "Stock price of {x}",
        "How much is a share of {x}?", "Get a quote for {x}.", "How is {x} doing today?"),
        ("symbol", "ticker", "stock", "ticker_symbol"),
        first_value=_letters,
    ),
    "alarm": Errand(
        ("set_alarm", "create_alarm", "alarm", "setAlarm", "wake_me"),
        ("Set an alarm.", "Set an alarm for a time", "Wakes the user at a time."),
        ("Set an alarm for {x}.", "Wake me at {x}.", "Set an alarm at {x}, please.",
        "I have to get up at {x}.", "Alarm at {x}"),
        ("time", "at", "alarm_time"),
        first_value=_clock,
    ),
    "order": Errand(
        ("get_order", "track_order", "order_status", "get_order_status", "getDeliveryDate",
        "get_delivery_date"),
        ("Get the status of an order.", "Track an order", "Get the delivery date of an order.",
        "Get the delivery date for a customer's order."),
        ("Where is my order {x}?", "What is the status of order {x}?", "Track order {x}.",
        "When will order {x} arrive?", "Has order {x} been sent?"),
        ("order_id", "id", "order", "orderId", "number"),
        first_value=_number,
    ),
    "light": Errand(
        ("set_light", "control_light", "light", "switch_light", "setLight"),
        ("Turn a light on or off.", "Switch a lamp", "Control the lights of a room."),
        ("Turn {y} the light in the {x}.", "Switch {y} the lamp in the {x}.",
        "Turn the {x} light {y}.", "Lights {y} in the {x}, please."),
        ("room", "location", "name", "lamp"),
        ("state", "action", "power"),
        _one_of("kitchen", "garden", "hall", "bathroom", "office", "cellar", "garage", "bedroom"),
        _one_of("on", "off"), ("on", "off"),
    ),
    "news": Errand(
        ("get_news", "news", "search_news", "getNews", "headlines"),
        ("Get the news.", "Get news about a topic", "Search the latest headlines."),
        ("What is the news about {x}?", "News about {x}", "Any news from {x}?",
        "Get the latest news on {x}.", "What happened in {x} today?"),
        ("topic", "query", "subject", "keyword"),
        first_value=city,
    ),
    "file": Errand(
        ("read_file", "open_file", "readFile", "load_file", "cat"),
        ("Read a file.", "Read a file from disk", "Returns the contents of a file."),
        ("Read {x}.", "Open {x}", "What is in {x}?", "Show me the file {x}.",
        "Read the file {x}, please."),
        ("path", "file", "filename", "file_path"),
        first_value=lambda rng: f"{rng.choice(_WORDS)}.{rng.choice(('txt', 'md', 'py', 'json'))}",
    ),
}  # fmt: skip

# Tools without parameters: names of one tool, its descriptions, requests.
_Command = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
COMMANDS: tuple[_Command, ...] = (
    (
        ("get_time", "current_time", "get_current_time", "now", "clock"),
        ("Get the time", "Get the current time.", "Returns the current time."),
        ("What time is it?", "What time is it now?", "Tell me the time.", "How late is it?"),
    ),
    (
        ("list_files", "ls", "listFiles", "show_files"),
        ("List the files.", "List all files", "Lists the files of the folder."),
        ("List the files.", "Which files are there?", "Show me my files.", "What files do I have?"),
    ),
    (
        ("roll_dice", "roll_die", "rollDice", "dice"),
        ("Roll a die.", "Roll the dice", "Rolls a die with six sides."),
        ("Roll a die.", "Roll the dice.", "Throw a die, please.", "Roll dice"),
    ),
    (
        ("get_location", "where_am_i", "get_user_location", "getLocation"),
        ("Get the user's location.", "Where the user is", "Get the current location"),
        ("Where am I?", "What is my location?", "Where am I right now?", "Find my location."),
    ),
    (
        ("list_users", "get_users", "listUsers", "users"),
        ("List the users.", "Get all users", "Lists all users."),
        ("List the users.", "Who are the users?", "Show me all users.", "Which users are there?"),
    ),
    (
        ("stop", "stop_music", "stopMusic", "pause"),
        ("Stop the music.", "Stop playing", "Stops the music."),
        ("Stop the music.", "Stop playing.", "Please stop the music.", "Stop that music, please."),
    ),
)
