"""The texts of the tiny checkpoints: what their vocabularies are made from, the label sets, and texts that are hard to tokenize."""

CORPUS = [
    "a photo of a cat", "a photo of a dog", "this is a photo of a red car", "two people in front of a house",
    "an empty street at night", "a person at the door with a parcel", "the garden gate is open", "a delivery van on the road",
    "a bicycle leaning against a lamp post", "smoke over the roof", "a child is playing with a ball", "rain on the window",
    "the old man and the sea", "three seagulls on a wooden boat", "it's a cat, isn't it? they're here, I've seen them",
    "une voiture rouge devant la maison", "un chat noir sur le toit", "ein großes Straßenschild und ein grünes Auto",
    "eine Katze auf dem Dach", "un coche rojo en la calle", "una persona en la puerta", "кошка на окне", "красная машина у дома",
    "человек у двери", "ο γάτος στο παράθυρο", "kırmızı bir araba ve küçük bir kedi", "سيارة حمراء أمام البيت", "قطة على السطح",
    "लाल गाड़ी घर के सामने", "猫と犬がいる", "赤い車が家の前にある", "一张红色的车的照片", "门口有一个包裹", "猫在屋顶上", "빨간 자동차",
    "고양이가 창문에 있다", "in 2024 there were 3.14 cats, 100% of them black & white", "e-mail: name@example.org", "😀 🐈 ❤️",
]

# The pipeline of transformers refuses longer texts for CLIP; with the tiny vocabularies this one has about 70 tokens.
LONG = "a very detailed photo of an old wooden fishing boat with a red and white hull at a stone quay in a quiet harbour"
# Longer than the context of every model that truncates.
LONGER = LONG + (
    " under heavy grey clouds while two fishermen in yellow raincoats dry their nets next to a stack of lobster pots, a sleeping dog,"
    " three seagulls, a rusty anchor, several coils of rope, an orange life buoy and a bicycle leaning against a lamp post in front of"
    " a row of narrow painted houses with white window frames; 猫が屋根の上で眠っている, кошка спит на крыше, and 42 more things"
)

DEFAULT_TEMPLATE = "This is a photo of {}."


def label_sets(long):
    """The label sets of a checkpoint: template and labels. `long` is the longest text that its reference accepts."""
    return [
        {"template": DEFAULT_TEMPLATE, "labels": ["cat", "dog", "a red car", "two people in front of a house", "an empty street at night"]},
        {"template": "{}", "labels": ["une voiture rouge", "кошка на окне", "猫と犬", "红色的车", "سيارة حمراء", "빨간 자동차", "ein grünes Straßenschild — groß"]},
        {"template": "a photo of a {}, 2024", "labels": ["Cat's CAFÉ!", "e-mail: a&b <x@y.z>", "don't / won't_do", "  two   spaces\tand a tab ", "😀🐈 emoji", "ﬁne ½ ①"]},
        {"template": "{}", "labels": ["x", "a dog", long]},
    ]


def prompts(sets):
    """All prompts, in order."""
    return [entry["template"].format(label) for entry in sets for label in entry["labels"]]


# Only tokenized: no score depends on them.
HARD = [
    "", "   ", "!", "a", "A", "2,000.50 km/h", "ΑΒΓ ΣΊΣΥΦΟΣ", "İstanbul ı", "line\nbreak\r\nand\u00a0nbsp\u3000wide", "<|endoftext|> a <|startoftext|>",
    "</s> <s> <unk> <pad> <eos> <bos> <mask> [CLS] [SEP] [UNK] [MASK] [PAD] <start_of_text> <end_of_text>", "a</s>b [SEP]c", "e\u0301 vs é, ñ, Å",
    "हिन्दी में लिखा", "ไทย ภาษา", "👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪", "１２３ ＡＢＣ", "‘curly’ “quotes” … – —", "&amp; &lt;b&gt; caf&eacute; &#233;", "tab\tand\x07bell\x00nul", "▁under score_and_more",
    "龘鱻 未登录字", "ｶﾀｶﾅ ﾞ", "I'LL you'RE it'S", "a" * 120, "x " * 90, LONGER,
]
