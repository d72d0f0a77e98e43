"""Where visitors are: cities, and addresses that fit them."""

from typing import NamedTuple


class Place(NamedTuple):
    """A city of visitors."""

    country: str
    region: str
    city: str
    timezone: str
    latitude: str
    longitude: str
    language: str
    network: tuple[int, int]
    """The first two bytes of an IPv4 network of a large access provider in the country, as the
    regional registries publish it; tests hold it against the iptocc database."""
    weight: float


PLACES: tuple[Place, ...] = tuple(
    Place(*row)
    for row in (
        ("US", "New York", "New York", "America/New_York", "40.7128", "-74.0060", "en-US",
         (24, 5), 14),
        ("US", "California", "San Francisco", "America/Los_Angeles", "37.7749", "-122.4194",
         "en-US", (73, 10), 10),
        ("US", "Illinois", "Chicago", "America/Chicago", "41.8781", "-87.6298", "en-US",
         (24, 5), 8),
        ("CA", "Ontario", "Toronto", "America/Toronto", "43.6532", "-79.3832", "en-CA",
         (70, 50), 5),
        ("MX", "Mexico City", "Mexico City", "America/Mexico_City", "19.4326", "-99.1332",
         "es-MX", (187, 150), 3),
        ("BR", "São Paulo", "São Paulo", "America/Sao_Paulo", "-23.5505", "-46.6333", "pt-BR",
         (177, 40), 6),
        ("AR", "Buenos Aires", "Buenos Aires", "America/Argentina/Buenos_Aires", "-34.6037",
         "-58.3816", "es-AR", (190, 50), 2),
        ("GB", "England", "London", "Europe/London", "51.5074", "-0.1278", "en-GB",
         (86, 150), 8),
        ("DE", "Berlin", "Berlin", "Europe/Berlin", "52.5200", "13.4050", "de-DE", (91, 10), 6),
        ("DE", "Bavaria", "Munich", "Europe/Berlin", "48.1351", "11.5820", "de-DE",
         (91, 10), 3),
        ("FR", "Île-de-France", "Paris", "Europe/Paris", "48.8566", "2.3522", "fr-FR",
         (90, 10), 6),
        ("NL", "North Holland", "Amsterdam", "Europe/Amsterdam", "52.3676", "4.9041", "nl-NL",
         (84, 80), 3),
        ("ES", "Madrid", "Madrid", "Europe/Madrid", "40.4168", "-3.7038", "es-ES", (88, 10), 4),
        ("IT", "Lazio", "Rome", "Europe/Rome", "41.9028", "12.4964", "it-IT", (79, 20), 4),
        ("PL", "Mazovia", "Warsaw", "Europe/Warsaw", "52.2297", "21.0122", "pl-PL",
         (83, 10), 3),
        ("SE", "Stockholm", "Stockholm", "Europe/Stockholm", "59.3293", "18.0686", "sv-SE",
         (81, 230), 2),
        ("ZA", "Gauteng", "Johannesburg", "Africa/Johannesburg", "-26.2041", "28.0473", "en-ZA",
         (105, 225), 2),
        ("IN", "Maharashtra", "Mumbai", "Asia/Kolkata", "19.0760", "72.8777", "en-IN",
         (117, 200), 8),
        ("SG", "Singapore", "Singapore", "Asia/Singapore", "1.3521", "103.8198", "en-SG",
         (116, 86), 2),
        ("ID", "Jakarta", "Jakarta", "Asia/Jakarta", "-6.2088", "106.8456", "id-ID",
         (36, 70), 4),
        ("JP", "Tokyo", "Tokyo", "Asia/Tokyo", "35.6762", "139.6503", "ja-JP", (126, 10), 5),
        ("KR", "Seoul", "Seoul", "Asia/Seoul", "37.5665", "126.9780", "ko-KR", (175, 200), 3),
        ("AU", "New South Wales", "Sydney", "Australia/Sydney", "-33.8688", "151.2093", "en-AU",
         (120, 150), 4),
    )
)  # fmt: skip
"""Cities, their coordinates to four digits, and about how many visitors come from them."""

_RESERVED = 1 << 17
_SPREAD = 40_503
"""An odd number: neighbours among the visitors get addresses far apart, each its own."""


def reserved_address(number: int) -> str:
    """An address that is nobody's.

    IPv4 of 198.18.0.0/15 (benchmarks, RFC 2544), for each tenth visitor IPv6 of 2001:db8::/32
    (documentation, RFC 3849); after 131,072 visitors IPv4 addresses come again.
    """
    if number % 10 == 9:
        spread = number * 2_654_435_761 % (1 << 32)
        return f"2001:db8:{spread >> 16:x}:{spread & 0xFFFF:x}::1"
    spread = number * _SPREAD % _RESERVED
    return f"198.{18 + (spread >> 16)}.{spread >> 8 & 255}.{spread & 255}"


def public_address(place: Place, number: int) -> str:
    """An address of the place's country; the same ones come again after 65,536 visitors."""
    spread = number * _SPREAD % (1 << 16)
    return f"{place.network[0]}.{place.network[1]}.{spread >> 8}.{spread & 255}"
