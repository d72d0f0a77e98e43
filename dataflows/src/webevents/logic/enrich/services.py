"""The table of referring services: hosts, kind of place, and where the search term stands.

Our own table, from the services' public addresses. A host stands for itself and its subdomains;
the most specific one holds. ``google.*`` stands for google.com and its country domains
(google.de, google.co.uk, google.com.br). A ``utm_source`` means a service where it is its name,
one of its ``aliases`` or one of its hosts. Names of Android apps are there too, because
they come as ``android-app://com.linkedin.android``.
"""

from typing import NamedTuple

from webevents.spec.enrich import Medium


class Service(NamedTuple):
    """One service that sends visitors."""

    name: str
    medium: Medium
    hosts: tuple[str, ...]
    terms: tuple[str, ...] = ()
    """Parameters of its URLs that hold what was searched for; the first present holds."""
    aliases: tuple[str, ...] = ()


SERVICES: tuple[Service, ...] = (
    # Search engines.
    Service("Google", "search", ("google.*", "com.google.android.googlequicksearchbox"), ("q",)),
    Service("Bing", "search", ("bing.com", "com.microsoft.bing"), ("q",)),
    Service("Yahoo", "search", ("yahoo.*", "search.yahoo.co.jp"), ("p", "q")),
    Service(
        "DuckDuckGo",
        "search",
        ("duckduckgo.com", "duck.com", "com.duckduckgo.mobile.android"),
        ("q",),
        ("ddg",),
    ),
    Service("Yandex", "search", ("yandex.*", "ya.ru"), ("text",)),
    Service("Baidu", "search", ("baidu.com",), ("wd", "word")),
    Service("Naver", "search", ("naver.com",), ("query",)),
    Service("Daum", "search", ("daum.net",), ("q",)),
    Service("Seznam", "search", ("seznam.cz",), ("q",)),
    Service("Sogou", "search", ("sogou.com",), ("query", "keyword")),
    Service("360 Search", "search", ("so.com", "haosou.com"), ("q",)),
    Service("Brave Search", "search", ("search.brave.com",), ("q",), ("brave",)),
    Service("Ecosia", "search", ("ecosia.org",), ("q",)),
    Service("Qwant", "search", ("qwant.com",), ("q",)),
    Service("Startpage", "search", ("startpage.com",), ("query", "q")),
    Service("Kagi", "search", ("kagi.com",), ("q",)),
    Service("Mojeek", "search", ("mojeek.com",), ("q",)),
    Service("Swisscows", "search", ("swisscows.com",), ("query",)),
    Service("MetaGer", "search", ("metager.org", "metager.de"), ("eingabe",)),
    Service("Ask", "search", ("ask.com",), ("q",)),
    Service("AOL", "search", ("search.aol.com", "aol.com"), ("q",)),
    Service("Lycos", "search", ("lycos.com",), ("q",)),
    Service("Rambler", "search", ("rambler.ru",), ("query",)),
    Service("Mail.ru", "search", ("go.mail.ru",), ("q",)),
    Service("Cốc Cốc", "search", ("coccoc.com",), ("query",), ("coccoc",)),
    Service("MSN", "search", ("msn.com",), ("q",)),
    # Assistants that answer with links.
    Service("ChatGPT", "ai", ("chatgpt.com", "chat.openai.com"), (), ("openai",)),
    Service("Perplexity", "ai", ("perplexity.ai", "ai.perplexity.app.android"), ("q",)),
    Service("Claude", "ai", ("claude.ai", "com.anthropic.claude"), (), ("anthropic",)),
    Service(
        "Gemini", "ai", ("gemini.google.com", "bard.google.com", "com.google.android.apps.bard")
    ),
    Service("Copilot", "ai", ("copilot.microsoft.com", "copilot.cloud.microsoft", "copilot.com")),
    Service("Meta AI", "ai", ("meta.ai",), (), ("meta-ai",)),
    Service("Grok", "ai", ("grok.com",)),
    Service("DeepSeek", "ai", ("deepseek.com",)),
    Service("Le Chat", "ai", ("chat.mistral.ai",), (), ("mistral",)),
    Service("You.com", "ai", ("you.com",), ("q",)),
    Service("Phind", "ai", ("phind.com",), ("q",)),
    Service("Poe", "ai", ("poe.com",)),
    Service("Kimi", "ai", ("kimi.com", "kimi.moonshot.cn")),
    Service("Qwen", "ai", ("chat.qwen.ai", "qwen.ai")),
    Service("Doubao", "ai", ("doubao.com",)),
    Service("NotebookLM", "ai", ("notebooklm.google.com",)),
    # Social networks, forums and messengers.
    Service(
        "Facebook",
        "social",
        ("facebook.com", "fb.com", "fb.me", "com.facebook.katana"),
        (),
        ("fb", "meta"),
    ),
    Service("Messenger", "social", ("messenger.com", "m.me", "com.facebook.orca")),
    Service("Instagram", "social", ("instagram.com", "com.instagram.android"), (), ("ig", "insta")),
    Service("Threads", "social", ("threads.net", "threads.com")),
    Service(
        "X", "social", ("x.com", "twitter.com", "t.co", "com.twitter.android"), (), ("twitter",)
    ),
    Service("LinkedIn", "social", ("linkedin.com", "lnkd.in", "com.linkedin.android")),
    Service("Reddit", "social", ("reddit.com", "redd.it", "com.reddit.frontpage")),
    Service("Pinterest", "social", ("pinterest.*", "pin.it", "com.pinterest"), ("q",)),
    Service("TikTok", "social", ("tiktok.com", "com.zhiliaoapp.musically"), ("q",)),
    Service("Douyin", "social", ("douyin.com",)),
    Service("Snapchat", "social", ("snapchat.com", "com.snapchat.android"), (), ("snap",)),
    Service("Bluesky", "social", ("bsky.app", "bsky.social"), (), ("bsky",)),
    Service(
        "Mastodon",
        "social",
        (
            "mastodon.social",
            "mastodon.online",
            "mastodon.world",
            "mstdn.social",
            "mstdn.jp",
            "mas.to",
            "fosstodon.org",
            "hachyderm.io",
            "infosec.exchange",
            "chaos.social",
            "org.joinmastodon.android",
        ),
    ),
    Service("Lemmy", "social", ("lemmy.world", "lemmy.ml")),
    Service("VK", "social", ("vk.com", "vk.ru"), (), ("vkontakte",)),
    Service("Odnoklassniki", "social", ("ok.ru",), (), ("ok",)),
    Service("WhatsApp", "social", ("whatsapp.com", "wa.me", "com.whatsapp")),
    Service("Telegram", "social", ("telegram.org", "t.me", "org.telegram.messenger")),
    Service("Discord", "social", ("discord.com", "discord.gg", "com.discord")),
    Service("Slack", "social", ("slack.com", "com.slack")),
    Service("Microsoft Teams", "social", ("teams.microsoft.com",), (), ("teams", "msteams")),
    Service("Line", "social", ("line.me",)),
    Service("WeChat", "social", ("wechat.com", "weixin.qq.com")),
    Service("Weibo", "social", ("weibo.com", "weibo.cn", "t.cn")),
    Service("Xiaohongshu", "social", ("xiaohongshu.com", "xhslink.com"), (), ("rednote",)),
    Service("Zhihu", "social", ("zhihu.com",)),
    Service("Tumblr", "social", ("tumblr.com", "t.umblr.com")),
    Service("Quora", "social", ("quora.com",), ("q",)),
    Service("Hacker News", "social", ("news.ycombinator.com",), (), ("hackernews", "hn")),
    Service("Lobsters", "social", ("lobste.rs",)),
    Service("Product Hunt", "social", ("producthunt.com",)),
    Service(
        "Stack Exchange",
        "social",
        ("stackoverflow.com", "stackexchange.com"),
        ("q",),
        ("stackoverflow",),
    ),
    Service("Nextdoor", "social", ("nextdoor.*",)),
    Service("XING", "social", ("xing.com",)),
    Service("Substack", "social", ("substack.com",)),
    Service("Medium", "social", ("medium.com",)),
    # Video.
    Service(
        "YouTube",
        "video",
        ("youtube.*", "youtu.be", "youtube-nocookie.com", "com.google.android.youtube"),
        ("search_query",),
        ("yt",),
    ),
    Service("Vimeo", "video", ("vimeo.com",), ("q",)),
    Service("Twitch", "video", ("twitch.tv", "tv.twitch.android.app"), ("term",)),
    Service("Dailymotion", "video", ("dailymotion.com", "dai.ly")),
    Service("Bilibili", "video", ("bilibili.com", "b23.tv"), ("keyword",)),
    Service("Rumble", "video", ("rumble.com",), ("q",)),
    Service("Kick", "video", ("kick.com",)),
    Service("Netflix", "video", ("netflix.com",)),
    Service("Disney+", "video", ("disneyplus.com",), (), ("disneyplus",)),
    # Shops and price comparisons.
    Service("Google Shopping", "shopping", ("shopping.google.*",), ("q",)),
    Service("Amazon", "shopping", ("amazon.*", "amzn.to", "a.co"), ("k", "field-keywords")),
    Service("eBay", "shopping", ("ebay.*",), ("_nkw",)),
    Service("Etsy", "shopping", ("etsy.com",), ("q",)),
    Service("Walmart", "shopping", ("walmart.*",), ("q",)),
    Service("AliExpress", "shopping", ("aliexpress.*",), ("searchtext",)),
    Service("Alibaba", "shopping", ("alibaba.com",), ("searchtext",)),
    Service("Shopify", "shopping", ("shopify.com",)),
    Service("Temu", "shopping", ("temu.com",), ("search_key",)),
    Service(
        "MercadoLibre", "shopping", ("mercadolibre.*", "mercadolivre.*"), (), ("mercadolivre",)
    ),
    Service("Rakuten", "shopping", ("rakuten.*",)),
    Service("Flipkart", "shopping", ("flipkart.com",), ("q",)),
    Service("Tokopedia", "shopping", ("tokopedia.com",), ("q",)),
    Service("Shopee", "shopping", ("shopee.*",), ("keyword",)),
    Service("Idealo", "shopping", ("idealo.*",), ("q",)),
    Service("Stripe", "shopping", ("stripe.com",)),
    # Web mail, and services that send newsletters.
    Service("Gmail", "email", ("mail.google.*", "com.google.android.gm"), ("q",)),
    Service(
        "Outlook",
        "email",
        ("outlook.live.com", "outlook.office.com", "outlook.office365.com", "outlook.com"),
    ),
    Service("Yahoo Mail", "email", ("mail.yahoo.*",)),
    Service("iCloud Mail", "email", ("icloud.com",)),
    Service("AOL Mail", "email", ("mail.aol.com",)),
    Service("Proton Mail", "email", ("mail.proton.me", "protonmail.com"), (), ("proton",)),
    Service("GMX", "email", ("gmx.*",)),
    Service("Web.de", "email", ("web.de",)),
    Service("Zoho Mail", "email", ("mail.zoho.com",)),
    Service("Fastmail", "email", ("fastmail.com",)),
    Service("Yandex Mail", "email", ("mail.yandex.*",)),
    Service("Mail.ru Mail", "email", ("e.mail.ru",)),
    Service("QQ Mail", "email", ("mail.qq.com",)),
    Service("Naver Mail", "email", ("mail.naver.com",)),
    Service("Mailchimp", "email", ("mailchimp.com", "campaign-archive.com", "list-manage.com")),
    Service("Klaviyo", "email", ("klaviyo.com",)),
    Service("Brevo", "email", ("brevo.com", "sendinblue.com")),
    Service("HubSpot", "email", ("hubspotlinks.com",), (), ("hs_email",)),
    Service("SendGrid", "email", ("sendgrid.net",)),
)
"""The services, by kind of place."""
