"""A grammar of short stories: someone, somewhere, in trouble, helped, wiser."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .samples import Exchange, typed

ANIMALS = (
    "fox", "bear", "rabbit", "mouse", "owl", "cat", "dog", "duck", "frog", "horse", "lion", "wolf",
    "deer", "goat",
    "pig", "hen", "crow", "turtle", "squirrel", "badger", "beaver", "dragon", "hedgehog", "otter",
    "elephant", "penguin",
    "bee", "robot", "girl", "boy", "king", "princess", "baker", "farmer", "wizard", "fisherman",
)  # fmt: skip
_OTHERS = (
    "teapot", "train", "cactus", "snowman", "lamp", "tree", "pirate", "knight", "witch", "cloud",
    "shark", "monkey",
    "tiger", "giraffe", "spider", "whale", "unicorn", "cow", "sheep", "butterfly", "astronaut",
    "teacher", "gnome",
    "kitten", "puppy", "parrot", "snail", "camel", "doctor", "clock",
)  # fmt: skip
_FEMALE = {"hen", "girl", "princess", "bee"}
_MALE = {"boy", "king", "baker", "farmer", "wizard", "fisherman"}
_NAMES = {
    "he": ("Tom", "Ben", "Max", "Leo", "Sam", "Finn", "Otto", "Hugo", "Jack", "Nils"),
    "she": ("Mia", "Lily", "Anna", "Ruby", "Nora", "Ella", "Ida", "Rosa", "Zoe", "Clara"),
}
_TRAITS = (
    "little",
    "brave",
    "kind",
    "clever",
    "shy",
    "young",
    "curious",
    "small",
    "cheerful",
    "quiet",
)
_HOMES = (
    "in a deep forest", "near a quiet lake", "on a green hill", "by the sea", "in a small village",
    "beside an old mill",
    "under a tall oak tree", "at the edge of a big town", "in a sunny valley", "on a little island",
    "at the foot of a mountain", "in a garden full of flowers",
)  # fmt: skip
_TREASURES = (
    "red kite", "golden key", "blue ball", "silver bell", "warm hat", "little boat", "old map",
    "shiny stone",
    "wooden flute", "yellow lamp", "green scarf", "picture book",
)  # fmt: skip
_FOODS = ("bread", "soup", "apples", "berries", "honey cake", "pancakes", "cheese", "nuts")
_WEATHERS = ("sunny", "windy", "rainy", "cold", "warm", "foggy")
_LIKES = (
    "liked to sing", "loved to read", "liked to walk in the rain", "loved the stars",
    "liked to build things",
    "loved to cook", "liked to ask questions", "loved long walks", "liked to collect leaves",
    "loved to dance",
)  # fmt: skip


@dataclass(frozen=True)
class Cast:
    """Who and what one story is about."""

    hero: str
    name: str
    they: str
    them: str
    their: str
    helper: str
    treasure: str
    food: str
    home: str
    trait: str
    weather: str
    like: str

    def fill(self, text: str) -> str:
        filled = text.format(
            **{**vars(self), "They": self.they.capitalize(), "Their": self.their.capitalize()}
        )
        for vowel in "aeiou":
            filled = filled.replace(f" a {vowel}", f" an {vowel}").replace(
                f"A {vowel}", f"An {vowel}"
            )
        return filled


def _cast(rng: Random, hero: str | None, trait: str | None) -> Cast:
    hero = hero or rng.choice(ANIMALS)
    they = "she" if hero in _FEMALE else "he" if hero in _MALE else rng.choice(("he", "she"))
    helper = rng.choice([animal for animal in ANIMALS[:26] if animal != hero])
    return Cast(
        hero=hero,
        name=rng.choice(_NAMES[they]),
        they=they,
        them={"he": "him", "she": "her"}[they],
        their={"he": "his", "she": "her"}[they],
        helper=helper,
        treasure=rng.choice(_TREASURES),
        food=rng.choice(_FOODS),
        home=rng.choice(_HOMES),
        trait=trait or rng.choice(_TRAITS),
        weather=rng.choice(_WEATHERS),
        like=rng.choice(_LIKES),
    )


_OPENINGS = (
    "Once upon a time there was a {trait} {hero} called {name}, who lived {home}.",
    "Once upon a time, a {trait} {hero} called {name} lived {home}.",
    "Once upon a time a {trait} {hero} lived {home}. {Their} name was {name}.",
)
_HABITS = (
    "{name} {like}, and every evening {they} ate {food} by the window.",
    "{They} {like}, and everyone there knew {them}.",
    "Every day {name} worked hard, and in the evening {they} ate {food}.",
    "{They} had a {treasure}, and {they} carried it everywhere.",
)

# Each plot: trouble, attempt, help, resolution; a tuple per step holds its wordings.
_PLOTS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (
        ("One {weather} morning {name} looked for {their} {treasure}, but it was gone.",
         "One {weather} day {name} could not find {their} {treasure}."),
        ("{They} looked under the bed, behind the door and in the garden, but it was not there.",
         "{They} searched the whole house and then the road, but {they} found nothing."),
        ("Then a {helper} came by and asked, \"Why are you so sad?\" \"I have lost my "
         "{treasure},\" said {name}.",
         "{name} asked a {helper} for help. \"I saw your {treasure} this morning,\" said "
         "the {helper}. \"Come with me!\""),
        ("Together they walked to the river, and there, between two stones, lay the {treasure}.",
         "They went along the path together, and at last they saw the {treasure} high in a tree."),
    ),
    (
        ("One {weather} night {name} heard a small voice outside. It was a {helper}, cold "
         "and lost.",
         "One {weather} evening there was a knock at the door. A {helper} stood there, "
         "tired and hungry."),
        ("\"Please come in,\" said {name}, and {they} gave the {helper} some {food}.",
         "{name} lit the lamp, made a fire and shared {their} {food} with the {helper}."),
        ("The {helper} told {name} about the long way home, and {name} listened until late.",
         "They sat by the fire and talked until the moon was high."),
        ("In the morning {name} showed the {helper} the way, and the {helper} gave {them} a "
         "{treasure} as a gift.",
         "The next day the {helper} found the way home and left a {treasure} on the table "
         "to say thank you."),
    ),
    (
        ("One {weather} day a great storm came, and the bridge over the river broke.",
         "One {weather} morning the bridge to the market fell into the river."),
        ("{name} wanted to build a new one, but the wood was too heavy for {them}.",
         "{name} tried to pull the wood across, but {they} was not strong enough."),
        ("A {helper} watched {them} and said, \"Alone it is hard. Let us do it together.\"",
         "Then a {helper} came with a long rope. \"Two can do more than one,\" said the {helper}."),
        ("They worked all day, and when the sun went down the new bridge stood firm.",
         "They pulled and pushed until the evening, and then the bridge was ready."),
    ),
    (
        ("One {weather} day {name} wanted to see what was behind the hills.",
         "One {weather} morning {name} found an old map with a road that {they} did not know."),
        ("{They} put some {food} in a bag and walked for hours, until the path was gone and "
         "{they} was afraid.",
         "{They} walked and walked, but soon the fog came and {they} could not see the path."),
        ("\"Are you lost?\" asked a {helper} from behind a tree. \"Yes,\" said {name}, "
         "\"but I am glad to see you.\"",
         "There {they} met a {helper} who knew every path. \"Follow me,\" said the {helper}."),
        ("The {helper} led {them} to the top of a hill, and from there {name} could see the "
         "sea and {their} own house.",
         "Together they found the end of the road, where a {treasure} lay in the grass."),
    ),
    (
        ("One {weather} day {name} planted a seed and waited, but nothing happened.",
         "One {weather} spring {name} wanted to grow the biggest pumpkin of all."),
        ("{They} gave it water every morning and sang to it every night.",
         "{They} watched the ground all day and could not sleep at night."),
        ("\"You must be patient,\" said an old {helper}. \"Good things need time.\"",
         "A {helper} laughed and said, \"It grows when you do not look. Come and eat some "
         "{food} with me.\""),
        ("After many days a green leaf came out of the ground, and in summer there was "
         "enough for everyone.",
         "When autumn came, it was so big that they needed six friends to carry it home."),
    ),
    (
        ("One {weather} day {name} and a {helper} both wanted the same {treasure}.",
         "One {weather} afternoon {name} found a {treasure}, but a {helper} said, \"I saw "
         "it first!\""),
        ("They shouted at each other until the birds flew away.",
         "They pulled from both sides, and nobody wanted to let go."),
        ("Then {name} became quiet and said, \"You can have it today, and I can have it "
         "tomorrow.\"",
         "At last {name} stopped and said, \"Let us share it. Then we both have something "
         "to be glad about.\""),
        ("The {helper} smiled and agreed, and they played together until dark.",
         "The {helper} was ashamed and brought some {food}, and they ate it side by side."),
    ),
)  # fmt: skip
_ENDINGS = (
    "From that day on, {name} and the {helper} were the best of friends.",
    "{name} was happy, and {they} never forgot the kind {helper}.",
    "{name} went home with a smile and slept well that night.",
)
_MORALS = (
    " And {they} knew that a friend is worth more than gold.",
    " And everyone {home} still tells this story.",
    " The end.",
    "",
)

REQUESTS = (
    "Tell me a story.", "Tell me a story", "Tell me a short story.", "Can you tell me a story?",
    "Write a story.",
    "Write a short story.", "I would like to hear a story.", "Please tell me a story!",
    "Make up a story.",
    "Tell a story", "A story, please.", "Story please", "Tell me another story.",
    "Tell me a bedtime story.",
    "Write me a story.", "Tell me a fairy tale.", "Tell me a long story.", "Write a long story.",
    "Do you know a story?",
)  # fmt: skip
REQUESTS_ABOUT = (
    "Tell me a story about a {h}.", "Tell me a short story about a {h}",
    "Write a story about a {h}.",
    "Write a short story about a {h}.", "Can you tell me a story about a {h}?",
    "A story about a {h}, please.",
    "Tell me a bedtime story about a {h}.", "I want a story about a {h}.", "Story about a {h}",
    "Make up a story about a {h}.",
)  # fmt: skip


def story(rng: Random, hero: str | None = None, trait: str | None = None) -> str:
    """A story of about 100 to 180 tokens."""
    cast = _cast(rng, hero, trait)
    steps = rng.choice(_PLOTS)
    sentences = [rng.choice(_OPENINGS), rng.choice(_HABITS)]
    sentences += [rng.choice(step) for step in steps]
    sentences.append(rng.choice(_ENDINGS) + rng.choice(_MORALS))
    return cast.fill(" ".join(sentences))


def story_exchange(rng: Random) -> Exchange:
    if rng.random() < 0.5:
        return Exchange(
            "stories",
            typed(rng, rng.choice(REQUESTS)),
            story(rng),
            "The user wants a story. I will tell one.",
        )
    hero = rng.choice(ANIMALS if rng.random() < 0.6 else _OTHERS)
    trait = rng.choice(_TRAITS) if rng.random() < 0.25 else None
    named = f"{trait} {hero}" if trait else hero
    request = rng.choice(REQUESTS_ABOUT).format(h=named)
    if named[0] in "aeiou":
        request = request.replace(" a " + named, " an " + named)
    reasoning = f"The user wants a story about a {hero}."
    return Exchange("stories", typed(rng, request), story(rng, hero, trait), reasoning)
