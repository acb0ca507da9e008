"""Countries, capitals and city names."""

from __future__ import annotations

from random import Random

CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Germany": "Berlin",
    "Portugal": "Lisbon", "Austria": "Vienna", "Switzerland": "Bern", "Belgium": "Brussels",
    "the Netherlands": "Amsterdam", "Denmark": "Copenhagen", "Norway": "Oslo",
    "Sweden": "Stockholm", "Finland": "Helsinki", "Poland": "Warsaw", "Greece": "Athens",
    "Hungary": "Budapest", "Ireland": "Dublin", "England": "London",
    "the United Kingdom": "London", "Turkey": "Ankara", "Russia": "Moscow", "Ukraine": "Kyiv",
    "Egypt": "Cairo", "Kenya": "Nairobi", "Japan": "Tokyo", "China": "Beijing",
    "India": "New Delhi",
    "South Korea": "Seoul", "Thailand": "Bangkok", "Vietnam": "Hanoi", "Australia": "Canberra",
    "New Zealand": "Wellington", "Canada": "Ottawa", "the United States": "Washington, D.C.",
    "Mexico": "Mexico City", "Brazil": "Brasilia", "Argentina": "Buenos Aires", "Chile": "Santiago",
    "Peru": "Lima", "Cuba": "Havana",
}  # fmt: skip

CITIES = """
Paris, Rome, Madrid, Berlin, Lisbon, Vienna, Bern, Brussels, Amsterdam, Copenhagen, Oslo,
Stockholm, Helsinki, Warsaw, Athens, Budapest, Dublin, London, Ankara, Moscow, Kyiv, Cairo,
Nairobi, Tokyo, Beijing, New Delhi, Seoul, Bangkok, Hanoi, Canberra, Wellington, Ottawa,
Washington, Mexico City, Brasilia, Buenos Aires, Santiago, Lima, Havana, New York, Los Angeles,
Chicago, Houston, Boston, San Francisco, Seattle, Denver, Miami, Dallas, Austin, Atlanta,
Portland, San Diego, Phoenix, Detroit, Toronto, Montreal, Vancouver, Calgary, Quebec, Glasgow,
Edinburgh, Manchester, Liverpool, Bristol, Cambridge, Oxford, York, Leeds, Cork, Lyon, Nice,
Lille, Bordeaux, Nantes, Munich, Hamburg, Cologne, Frankfurt, Stuttgart, Dresden, Leipzig,
Zurich, Geneva, Basel, Milan, Naples, Turin, Venice, Florence, Bologna, Palermo, Barcelona,
Valencia, Malaga, Bilbao, Granada, Porto, Salzburg, Graz, Prague, Brno, Krakow, Gdansk, Riga,
Vilnius, Tallinn, Minsk, Odessa, Lviv, Bucharest, Sofia, Belgrade, Zagreb, Split, Sarajevo,
Skopje, Tirana, Istanbul, Izmir, Antalya, Jerusalem, Tel Aviv, Beirut, Damascus, Amman, Baghdad,
Tehran, Dubai, Doha, Riyadh, Kabul, Karachi, Lahore, Mumbai, Chennai, Pune, Jaipur, Dhaka,
Colombo, Kathmandu, Yangon, Manila, Jakarta, Bandung, Singapore, Saigon, Osaka, Nagoya, Sapporo,
Kobe, Fukuoka, Busan, Incheon, Taipei, Hong Kong, Macau, Guangzhou, Chengdu, Wuhan, Harbin,
Xian, Lhasa, Melbourne, Perth, Brisbane, Adelaide, Hobart, Auckland, Lagos, Accra, Dakar, Abuja,
Tunis, Algiers, Rabat, Casablanca, Fez, Tripoli, Khartoum, Kampala, Kigali, Lusaka, Harare,
Durban, Cape Town, Bogota, Medellin, Quito, Cusco, La Paz, Asuncion, Montevideo, Recife,
Salvador, Rio de Janeiro, Sao Paulo, Caracas, Panama City, San Juan, Kingston, Cancun,
Monterrey, Honolulu, Anchorage, Las Vegas, Memphis, Nashville, New Orleans, Salt Lake City,
Kansas City, Reykjavik, Bergen, Malmo, Turku, Aarhus, Utrecht, São Paulo, Zürich, Malmö, Bogotá,
Kraków, München, Köln, Málaga, Łódź, Århus
"""

HELD_OUT_CITIES = """
Sydney, Philadelphia, Shanghai, Rotterdam, Marseille, Seville, Gothenburg, Johannesburg, Kyoto,
Delhi, Hyderabad, Cardiff, Bonn, Verona, Tampa, Oakland, Baltimore, San Jose, Cordoba, Mombasa,
Addis Ababa, Shenzhen, Jeddah, Bratislava, Ljubljana, Belfast, Tampere, Santa Fe, Guadalajara,
Kolkata, Toulouse, Bremen, Ghent, Trondheim, Wroclaw, Samarkand, Tashkent, Ulaanbaatar,
Vladivostok, Springfield
"""

REGIONS = """
CA, NY, TX, MA, WA, FL, France, Italy, Spain, Germany, Japan, Canada, Brazil, India, UK,
England, USA, Australia, Poland, Norway, Kenya, Peru, IL, OR, Colombia, Mexico, Portugal,
Greece, Sweden, China, PA, OH, Turkey, Chile
"""

_ONSETS = [
    "b",
    "br",
    "c",
    "ch",
    "cl",
    "d",
    "dr",
    "f",
    "g",
    "gl",
    "gr",
    "h",
    "j",
    "k",
    "kr",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "q",
    "r",
    "s",
    "sh",
    "st",
    "sw",
    "t",
    "th",
    "tr",
    "v",
    "w",
    "y",
    "z",
]
_VOWELS = [
    "a",
    "a",
    "a",
    "e",
    "e",
    "e",
    "i",
    "i",
    "o",
    "o",
    "u",
    "ae",
    "ai",
    "ea",
    "ia",
    "ie",
    "io",
    "ou",
    "oa",
    "au",
    "y",
]
_CODAS = [
    "n",
    "r",
    "l",
    "s",
    "m",
    "t",
    "k",
    "d",
    "x",
    "rd",
    "rn",
    "nd",
    "lt",
    "ck",
    "ll",
    "ng",
    "sh",
    "th",
    "st",
]
_ENDINGS = [
    "ville",
    "ton",
    "burg",
    "ford",
    "field",
    "stad",
    "ia",
    "o",
    "a",
    "ana",
    "ora",
    "eth",
    "grad",
    "pur",
    "abad",
    "shire",
    "land",
    "mouth",
    "port",
    "wick",
    "dale",
    "ham",
    "berg",
    "heim",
    "nia",
    "polis",
    "aki",
    "ito",
    "ulu",
    "ez",
    "os",
    "as",
]

_ACCENTS = [
    str.maketrans(plain, marked) for plain, marked in ("aá", "eé", "oö", "uü", "ií", "aã", "oø")
]


def _names(text: str) -> list[str]:
    return [" ".join(name.split()) for name in text.replace("\n", " ").split(",")]


_KNOWN = _names(CITIES)
_HELD_OUT = _names(HELD_OUT_CITIES)
_REGIONS = _names(REGIONS)


def invented_name(rng: Random) -> str:
    """A pronounceable name of two to four syllables, such as "Brelanton"."""
    syllables = [
        rng.choice(_ONSETS)
        + rng.choice(_VOWELS)
        + (rng.choice(_CODAS) if rng.random() < 0.35 else "")
        for _ in range(rng.choice((1, 1, 2, 2, 3)))
    ]
    if rng.random() < 0.15:
        syllables[0] = rng.choice("aeiou")
    if rng.random() < 0.6:
        syllables.append(rng.choice(_ENDINGS))
    elif len(syllables) == 1:
        syllables.append(rng.choice(_ONSETS) + rng.choice(_VOWELS))
    name = "".join(syllables).capitalize()
    if rng.random() < 0.04:
        name = name.translate(rng.choice(_ACCENTS))
    return name


def city(rng: Random, held_out: bool = False) -> str:
    """A city's name: real ones and invented ones, some of two words, some with a region.

    With `held_out`, real names come from a list that no training sample uses.
    """
    kind = rng.random()
    if kind < (0.6 if held_out else 0.35):
        name = rng.choice(_HELD_OUT if held_out else _KNOWN)
    elif kind < 0.88:
        name = invented_name(rng)
    else:
        first = ("New", "San", "Port", "Saint", "Fort", "Lake", "North", "El", "Santa", "Mount")
        name = f"{rng.choice(first)} {invented_name(rng)}"
        if rng.random() < 0.3:
            name = f"{invented_name(rng)} {rng.choice(('City', 'Bay', 'Hill', 'Springs', 'Beach'))}"
    if rng.random() < 0.12:
        name = f"{name}, {rng.choice(_REGIONS)}"
    return name


def known_city(rng: Random) -> str:
    """A real city of the training list, without a region."""
    return rng.choice(_KNOWN)
