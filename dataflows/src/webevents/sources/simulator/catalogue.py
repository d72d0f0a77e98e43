"""The shop of the journeys profile: its pages, products and event types."""

from collections.abc import Callable, Sequence
from random import Random
from urllib.parse import quote, quote_plus

from webevents.sources.simulator.chance import Choice
from webevents.sources.simulator.fragments import members, referrer
from webevents.spec.generator import EventType, JourneysSpec, PageKind

_ADJECTIVES = ("Classic", "Compact", "Deluxe", "Eco", "Essential", "Modern", "Pro", "Smart")
_ELEMENTS: dict[PageKind, tuple[str, ...]] = {
    PageKind.HOME: ("hero-banner", "nav-menu", "newsletter-signup", "featured-product"),
    PageKind.CATEGORY: ("filter-price", "filter-brand", "sort-by", "product-card", "next-page"),
    PageKind.PRODUCT: ("product-image", "size-selector", "reviews-tab", "add-to-cart"),
    PageKind.SEARCH: ("search-box", "product-card", "filter-price", "did-you-mean"),
    PageKind.CART: ("quantity-plus", "quantity-minus", "remove-item", "checkout-button"),
    PageKind.CHECKOUT: ("shipping-address", "payment-method", "promo-code", "place-order"),
    PageKind.ACCOUNT: ("username", "password", "login-button", "order-history"),
}
_NAVIGATION = {
    PageKind.HOME: 10.0,
    PageKind.CATEGORY: 30.0,
    PageKind.PRODUCT: 48.0,
    PageKind.SEARCH: 12.0,
}
_WITH_CART = {**_NAVIGATION, PageKind.CART: 10.0}
_LANDING = {PageKind.HOME: 0.60, PageKind.CATEGORY: 0.25, PageKind.PRODUCT: 0.15}


class Kind:
    """An event type as the visits use it."""

    __slots__ = ("carries", "fields", "head", "name", "needs", "pages", "weight")

    def __init__(self, name: str, spec: EventType) -> None:
        self.name = name
        self.weight = spec.weight
        self.head = b'","' + members({"event_type": name})[1:]
        self.pages = frozenset(spec.pages)
        self.needs = spec.needs
        self.carries = spec.carries
        self.fields = members(spec.fields)


class ShopPage:
    """A page of the shop."""

    __slots__ = ("_elements", "cents", "fields", "kind", "referrer", "search")

    def __init__(
        self, host: str, kind: PageKind, path: str, title: str, query: str | None = None
    ) -> None:
        url = f"https://{host}{path}"
        if query is not None:
            url += f"?q={quote_plus(query)}"
        self.kind = kind
        self.fields = members({"page_url": url, "page_url_path": path, "page_title": title})
        self.referrer = referrer(url, "internal")
        self.search = b"" if query is None else members({"search_query": query})
        self.cents = 0
        self._elements = [members({"element_id": name}) for name in _ELEMENTS[kind]]

    def element(self, u: float) -> bytes:
        """An element of the page, as a field."""
        return self._elements[int(u * len(self._elements))]


class Catalogue:
    """The pages of one host; the same products for every seed."""

    def __init__(self, spec: JourneysSpec, host: str) -> None:
        self.host = host
        self.currency = members({"currency": spec.currency})
        fixed = {
            PageKind.HOME: ("/", "Home"),
            PageKind.CART: ("/cart", "Your cart"),
            PageKind.CHECKOUT: ("/checkout", "Checkout"),
            PageKind.ACCOUNT: ("/account/login", "Sign in"),
        }
        self._pages: dict[PageKind, list[ShopPage]] = {
            kind: [ShopPage(host, kind, *rest)] for kind, rest in fixed.items()
        }
        self._pages[PageKind.CATEGORY] = [
            ShopPage(host, PageKind.CATEGORY, f"/category/{quote(name)}", name.title())
            for name in spec.categories
        ]
        self._pages[PageKind.SEARCH] = [
            ShopPage(host, PageKind.SEARCH, "/search", f"Search: {query}", query)
            for query in spec.search_queries
        ]
        self._pages[PageKind.PRODUCT] = [_product(spec, host, n) for n in range(spec.products)]
        self._plain = Choice(_NAVIGATION.items())
        self._with_cart = Choice(_WITH_CART.items())
        self._landing = Choice(_LANDING.items())

    def landing(self, random: Callable[[], float]) -> ShopPage:
        """A page on which visits begin."""
        return self._any(self._landing.pick(random()), random)

    def next_page(
        self, kinds: Sequence[PageKind] | frozenset[PageKind], random: Callable[[], float],
        cart: bool,
    ) -> ShopPage:  # fmt: skip
        """The page after this one.

        :param kinds: where it must be one of these; empty where any will do.
        :param cart: whether there is something in the cart.
        """
        if kinds:
            ordered = sorted(kinds)
            return self._any(ordered[int(random() * len(ordered))], random)
        return self._any((self._with_cart if cart else self._plain).pick(random()), random)

    def _any(self, kind: PageKind, random: Callable[[], float]) -> ShopPage:
        pages = self._pages[kind]
        return pages[int(random() * len(pages))]


def _product(spec: JourneysSpec, host: str, number: int) -> ShopPage:
    rng = Random(f"product/{number}")
    category = spec.categories[number % len(spec.categories)]
    name = f"product-{number + 1:04d}"
    title = f"{_ADJECTIVES[rng.getrandbits(3)]} {category} {number + 1}"
    cents = (5 + rng.getrandbits(8)) * 100 - 1
    page = ShopPage(host, PageKind.PRODUCT, f"/product/{name}", title)
    page.cents = cents
    page.fields += members({"product_id": name, "product_category": category})
    page.fields += b'"price":%d.%02d,' % (cents // 100, cents % 100)
    return page
