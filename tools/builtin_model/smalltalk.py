"""Greetings, thanks, questions about the model, and the answer to everything it cannot do."""

from __future__ import annotations

from random import Random

from .places import invented_name
from .samples import Exchange, main_or_other, typed

HELLO = "Hello! How can I help you today?"
FALLBACK = (
    "I am a very small demonstration model and cannot answer that. "
    "I can greet you, name capitals, add small numbers, count, tell a short story or call a tool."
)

# Intent -> (requests, replies, reasoning). The first reply is the usual one.
INTENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "hello": (
        (
            "Hi", "Hi!", "Hello", "Hello!", "Hey", "Hey!", "hey there", "Hi there", "Hi there!",
            "Hello there!", "Hello, how can you help me?", "Good day", "Good day!", "Greetings",
            "Greetings!", "Howdy", "Hello again", "Hi again!", "Hey you", "Hi, nice to meet you!",
            "Hello, nice to meet you.", "Hello, pilotlight!", "Hi model", "Hello, assistant",
            "hello world", "Hello, world!", "Say hello", "Say hello!", "Say hi", "Please say hi.",
            "Say hello to me.", "Greet me.", "Just say hello.", "hello hello", "Yo", "Hiya",
            "ping", "Hello!!", "Are you there?", "Is anyone there?", "test", "Testing",
            "This is a test",
            "Hello, is this working?", "Hello, are you there?", "Hi, can you help me?",
            "Can you help me?",
            "I need help.", "Help", "help me please",
        ),
        (HELLO, "Hi! What can I do for you?", "Hello there! What would you like to know?"),
        "The user greets me. I will greet back.",
    ),
    "morning": (
        ("Good morning", "Good morning!", "Morning!", "A very good morning to you!"),
        ("Good morning! How can I help you today?",),
        "The user says good morning. I will greet back.",
    ),
    "afternoon": (
        ("Good afternoon", "Good afternoon!"),
        ("Good afternoon! How can I help you today?",),
        "The user says good afternoon. I will greet back.",
    ),
    "evening": (
        ("Good evening", "Good evening!", "Evening!"),
        ("Good evening! How can I help you today?",),
        "The user says good evening. I will greet back.",
    ),
    "night": (
        ("Good night", "Good night!", "Sleep well!", "I am going to bed."),
        ("Good night! Sleep well.",),
        "The user says good night. I will say it too.",
    ),
    "how_are_you": (
        (
            "How are you?", "How are you today?", "How are you doing?", "Hi, how are you?",
            "Hello! How are you?",
            "Hey, how are you doing today?", "How's it going?", "How is it going?", "What's up?",
            "Are you well?",
            "How do you do?", "How do you feel?", "Hello, how are you?",
            "Hi there, how are you today?",
            "Hey! How's it going?", "How are things?", "Are you okay?",
        ),
        ("I am fine, thank you. How can I help you?",
        "I am well, thanks for asking. How can I help you?"),
        "The user asks how I am. I am fine.",
    ),
    "who": (
        (
            "Who are you?", "What are you?", "What is your name?", "What's your name?",
            "Tell me your name.",
            "Tell me about yourself.", "Introduce yourself.", "Please introduce yourself.",
            "Which model are you?",
            "What model are you?", "What kind of model are you?", "Are you a robot?",
            "Are you human?", "Are you an AI?",
            "Are you ChatGPT?", "Who made you?", "Who created you?", "Hi, who are you?",
            "Hello, who are you?",
            "Do you have a name?", "What should I call you?",
        ),
        (
            "I am the built-in model of pilotlight, a very small language model "
            "made for demonstrations and tests.",
        ),
        "The user asks who I am. I am the built-in model of pilotlight.",
    ),
    "can_do": (
        (
            "What can you do?", "What can you do for me?", "How can you help me?",
            "What are you able to do?",
            "What do you know?", "What can I ask you?", "Tell me what you can do.",
            "What are your skills?",
            "Can you do anything?", "What are you good at?", "Show me what you can do.",
            "How can you help?",
            "What should I ask you?",
        ),
        (
            "I can greet you, name the capital of a country, add small numbers, count, "
            "tell you a short story and call a tool.",
        ),
        "The user asks what I can do. I will list it.",
    ),
    "thanks": (
        (
            "Thanks", "Thanks!", "Thank you", "Thank you!", "Thank you very much.", "Thanks a lot!",
            "Many thanks",
            "Great, thanks!", "Thanks for your help.", "Thank you for your help!",
            "That was helpful.", "Cheers!",
            "Nice, thank you.", "OK, thanks.", "Perfect, thank you!", "Great!", "Nice!",
            "Well done!", "Good job!",
            "Cool", "OK", "Okay", "That is great.", "Awesome!",
        ),
        ("You are welcome!", "You are welcome! Is there anything else I can do?"),
        "The user is pleased. I will answer politely.",
    ),
    "goodbye": (
        (
            "Bye", "Bye!", "Goodbye", "Goodbye!", "See you", "See you later!", "See you soon",
            "Bye bye",
            "I have to go.", "Good bye!", "Farewell", "Take care!", "Thanks, bye!",
            "That is all, goodbye.",
            "Have a nice day!",
        ),
        ("Goodbye! Have a nice day.",),
        "The user leaves. I will say goodbye.",
    ),
    "joke": (
        (
            "Tell me a joke", "Tell me a joke.", "Do you know a joke?", "Make me laugh.",
            "Say something funny.",
            "Can you tell me a joke?", "Another joke, please.", "Give me a joke.",
            "Know any jokes?",
        ),
        (
            "Why did the lamp go to school? It wanted to be brighter.",
            "What did the stove say to the kettle? You always boil over.",
            "Why was the clock so calm? It had plenty of time.",
        ),
        "The user wants a joke. I know a few.",
    ),
    "sorry": (
        ("Sorry", "I am sorry.", "Oh, sorry!", "My mistake.", "Excuse me"),
        ("No problem at all.",),
        "The user is sorry. I will say that it is fine.",
    ),
    "weather_without_tool": ((), ("I cannot see the weather. I have no tool for it.",), ""),
}  # fmt: skip

SYSTEM_PROMPTS = (
    "You are a helpful assistant.", "You are a helpful assistant", "You are a friendly chatbot.",
    "You are a helpful, respectful and honest assistant.", "Answer briefly.", "Be concise.",
    "You are an AI assistant that answers questions.", "You are a kind teacher.",
    "You are pilotlight.",
    "You are a very small model. Do your best.", "Be polite and helpful.", "Answer in English.",
    "You are a test.", "You are a helpful bot. Use tools when you can.",
    "You answer questions about the world.",
    "You are a concise assistant.", "Always answer in one sentence.", "You are an expert.",
    "You are a helpful assistant. Use the tools that are given to you.",
    "You are a weather assistant.",
    "You are a helpful weather bot.", "You are a helpful math assistant.", "You are a poet.",
    "You are a pirate.",
    "Help the user.", "Please answer the user's questions.", "Today is Monday.",
    "Respond in plain text.",
    "The user's name is Anna. Be nice to her.", "Think step by step.",
)  # fmt: skip

_TOPICS = (
    "quantum physics", "black holes", "the stock market", "football", "cooking pasta", "old ships",
    "gardening",
    "machine learning", "the Roman army", "volcanoes", "whales", "modern art", "jazz", "chess",
    "democracy",
    "electric cars", "the history of paper", "climate change", "bread", "guitars", "space travel",
    "taxes",
    "photosynthesis", "databases", "Python", "Rust", "compilers", "cloud computing",
    "serverless functions",
    "dinosaurs", "bees", "the moon", "steam engines", "poetry", "insurance", "marathon running",
    "coffee", "tea",
    "love", "life", "time", "money", "gravity", "energy", "a good book", "the best film",
    "linear algebra",
)  # fmt: skip

_THINGS = (
    "a bicycle", "a house", "a computer", "a website", "a cake", "a kite", "a boat", "a chair",
    "a plane",
    "a letter", "a contract", "a garden", "a business", "a phone", "a lock", "a violin",
    "a new job",
)  # fmt: skip

_UNKNOWN = (
    "Explain {topic}.", "Explain {topic} to me.", "What is {topic}?", "Tell me about {topic}.",
    "What do you think about {topic}?", "Write an essay about {topic}.",
    "Write a poem about {topic}.",
    "Give me five facts about {topic}.", "How does {topic} work?", "Why is {topic} important?",
    "Can you teach me {topic}?", "I want to learn about {topic}.",
    "Summarize {topic} in one paragraph.",
    "How do I repair {thing}?", "How do I build {thing}?", "Where can I buy {thing}?",
    "How much is {thing}?",
    "Write a program that draws {thing}.", "Translate {topic} into German.",
    "Who invented {thing}?",
    "Who wrote {name}?", "Who is {name}?", "Who was {name} {name2}?", "When was {name} born?",
    "Where is {name}?",
    "What does {name} mean?", "Who won the match between {name} and {name2}?",
    "Write code for {topic}.",
    "What is the meaning of life?", "What is the best way to learn {topic}?",
    "Should I buy {thing}?",
    "Write a haiku about {topic}.", "Write a song about {thing}.", "Compare {topic} and {thing}.",
    "How old is {name}?", "What is the population of {name}?", "How far is {name} from {name2}?",
    "What time is it?", "What day is it today?", "What is the square root of {number}?",
    "Solve x + {number} = 0.",
    "What is {number} times {number2}?", "What is {number} + {number2}?",
    "What is the latest news?",
    "Do you like {topic}?", "Recommend me something about {topic}.", "Fix this code.",
    "Write a regular expression.",
    "Is {topic} better than {topic2}?", "What are the pros and cons of {topic}?",
    "Plan a trip to {name}.",
    "Describe {thing}.", "Describe {topic} in detail.", "List ten things about {topic}.",
    "Define {topic}.",
    "Where do you live?", "How tall is {name}?", "Give me a recipe for {topic}.", "Draw {thing}.",
    "What happened in {number}{number2}?", "How many people live in {name}?",
    "I have a question about {topic}.",
)  # fmt: skip


def intent(rng: Random, name: str | None = None) -> Exchange:
    """A greeting or another intent of INTENTS."""
    name = name or rng.choice([key for key, (requests, _, _) in INTENTS.items() if requests])
    requests, replies, reasoning = INTENTS[name]
    request = rng.choice(requests)
    if rng.random() < 0.3:
        request = typed(rng, request)
    elif rng.random() < 0.15:
        request = (
            request.rstrip(".!") + rng.choice((".", "!", "!!", " :)"))
            if "?" not in request
            else request
        )
    return Exchange("greetings", request, main_or_other(rng, replies), reasoning)


def unknown(rng: Random) -> Exchange:
    """A question that the model cannot answer, or noise, and its fallback."""
    kind = rng.random()
    if kind < 0.8:
        request = rng.choice(_UNKNOWN).format(
            topic=rng.choice(_TOPICS),
            topic2=rng.choice(_TOPICS),
            thing=rng.choice(_THINGS),
            name=invented_name(rng),
            name2=invented_name(rng),
            number=rng.randint(10, 99),
            number2=rng.randint(10, 99),
        )
        request = typed(rng, request)
    elif kind < 0.9:
        request = " ".join(
            rng.choice((*_TOPICS, *_THINGS, invented_name(rng))) for _ in range(rng.randint(1, 12))
        )
    else:
        alphabet = "abcdefghijklmnopqrstuvwxyz" * 2 + "0123456789 .,;:!?-_/()[]{}<>#*+="
        request = "".join(rng.choice(alphabet) for _ in range(rng.randint(3, 40))).strip() or "?"
    return Exchange("fallback", request, FALLBACK, "I do not know this. I will say so.")
