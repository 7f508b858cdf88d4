"""Word lists: captions of empty scenes, and everyday things that no picture shows."""

EMPTY = [
    "an empty scene", "an empty scene", "a plain background", "a plain background", "nothing", "an empty room",
    "no objects", "an empty wall", "a bare wall", "just a background", "an empty background", "nothing here",
    "nothing at all", "an empty place", "an empty floor", "a blank wall", "only a background", "a cluttered background",
    "no object", "an empty picture", "an empty table", "an empty porch", "an empty street", "an empty yard",
    "a background with nothing on it", "a noisy background", "a quiet scene with no objects", "a wall and a floor",
]

STRAY = """
person man woman child baby boy girl dog cat bird horse cow sheep pig chicken duck goose rabbit mouse rat fox bear
wolf deer lion tiger elephant monkey snake frog turtle spider bee ant fly butterfly squirrel parcel package box bag
backpack suitcase letter book newspaper pen pencil paper phone computer laptop keyboard screen television radio
camera clock watch lamp candle chair table desk sofa bed pillow blanket door window stairs fence gate garage porch
street road bridge tower church castle school shop office factory truck lorry van bus tram train bicycle motorcycle
scooter plane helicopter rocket tractor wheel engine hammer screwdriver saw axe knife fork spoon plate bowl glass
bottle can jar pan pot kettle oven fridge sink bath towel soap brush comb mirror shirt trousers dress skirt coat
jacket hat cap scarf glove sock shoe boot belt ring-binder necklace glasses wallet purse coin banknote apple banana
pear cherry grape lemon strawberry melon potato tomato carrot onion bread cheese egg cake biscuit pizza sandwich
burger soup rice meat milk juice coffee tea wine beer ball bat racket ski skateboard kite balloon doll toy robot
puzzle guitar piano drum violin trumpet microphone speaker flag sign poster painting photo map statue bench fountain
bin bucket ladder rope chain hook nail screw bolt battery cable plug bulb fire smoke flame water river lake sea
beach mountain hill forest field grass leaf bush cactus stone rock sand snow ice rain cloud sun sky storm lightning
rainbow planet hand foot head face eye nose mouth ear hair skeleton ghost dragon clown soldier policeman fireman
doctor nurse cook farmer worker driver thief stranger visitor neighbour postman couple crowd family team zebra
giraffe crocodile dolphin whale shark crab lobster snail worm penguin owl eagle parrot
""".split()

# Ordinary words for the tokenizer, so that a plain English prompt is not cut into letters.
ORDINARY = """
the of and to in is it you that he was for on are with as his they be at one have this from or had by hot but some
what there we can out other were all your when up use word how said an each she which do their time if will way
about many then them would write like so these her long make thing see him two has look more day could go come did
my sound no most number who over know water than call first people may down side been now find any new work part
take get place made live where after back little only round man year came show every good me give our under name
very through just form much great think say help low line before turn cause same mean differ move right boy old too
does tell sentence set three want air well also play small end put home read hand port large spell add even land
here must big high such follow act why ask men change went light kind off need house picture try us again animal
point mother world near build self earth father open closed empty broken dirty clean dark bright young tall short
wide narrow wet dry day night morning evening indoor outdoor security camera photo image view scene front door
garden kitchen standing sitting walking running lying parked moving holding carrying wearing inside outside behind
between above below beside around grey gray silver gold turquoise cyan violet beige colour color shape object
photograph drawing blurry noisy cluttered plain background
""".split()
