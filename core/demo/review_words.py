"""What customers say: the products they bought and the ways they judge them."""

from __future__ import annotations

from dataclasses import dataclass

from .grammar import Rules, read_rules


@dataclass(frozen=True)
class Product:
    """A thing on sale.

    `words` names its parts, its virtues and its faults; the latter two follow "it".
    """

    name: str
    category: str
    price: tuple[int, int]
    words: Rules


def _products(text: str) -> tuple[Product, ...]:
    products = []
    for block in text.strip().split("\n\n"):
        heading, words = block.split("\n", 1)
        name, category, low, high = heading.split(", ")
        products.append(Product(name, category, (int(low), int(high)), read_rules(words)))
    return tuple(products)


# Each product: name, category, lowest and highest price; then its words.
PRODUCTS = _products("""
charger, electronics, 9, 35
part: cable | plug | casing | status light
virtue:
  fills my phone in under an hour | stays cool all night | fits every socket in the house |
  works with both of our phones
fault: dies within a week | gets too hot to touch | buzzes all night | falls out of the wall

headset, electronics, 25, 140
part: microphone | headband | sound | battery life
virtue:
  blocks out the whole office | connects at once | lasts for two full days of calls |
  sits lightly on my ears
fault:
  drops the call every ten minutes | crackles on one side | pinches behind the ears |
  loses its connection in the next room

speaker, electronics, 20, 120
part: sound | bass | volume wheel | pairing
virtue:
  fills the kitchen with music | survives the rain | pairs in seconds |
  plays all weekend on one charge
fault:
  hums when nothing is playing | rattles on every low note | switches itself off |
  forgets my phone every morning

tablet, electronics, 90, 420
part: screen | camera | keyboard cover | software
virtue:
  opens every app at once | shows colours beautifully | keeps the children busy for hours |
  holds its charge for days
fault:
  freezes on the home page | takes five minutes to start | scratches if you look at it |
  restarts in the middle of a film

webcam, electronics, 22, 90
part: picture | clip | lens cover | microphone
virtue:
  makes our dim study look bright | keeps my face in focus | works without any set-up |
  shows every detail on the whiteboard
fault:
  turns everyone orange | blurs as soon as I move | slides off the monitor | lags behind my voice

kettle, kitchen, 18, 70
part: lid | handle | spout | switch
virtue:
  boils in under two minutes | pours without a drip | switches off on time |
  keeps the water hot for the second cup
fault:
  leaks from the base | tastes of plastic | screeches like a train | switches off before it boils

toaster, kitchen, 20, 75
part: crumb tray | dial | finish | lever
virtue: browns both sides evenly | takes thick slices | pops up gently | wipes clean in seconds
fault:
  burns one side only | trips the fuse | spits crumbs over the counter | smells of burning rubber

blender, kitchen, 30, 160
part: jug | motor | blade | lid
virtue:
  crushes ice without effort | turns anything into soup | rinses clean in a moment |
  runs quietly enough for early mornings
fault:
  leaves lumps in everything | sprays soup up the wall | smokes after thirty seconds |
  shrieks loud enough to wake the street

frying pan, kitchen, 15, 85
part: handle | coating | base | weight
virtue:
  lets eggs slide straight off | heats evenly | survives the dishwasher | sears a steak properly
fault:
  sticks to everything | warps on a low flame | flakes into the food |
  burns in the middle and stays cold at the edge

coffee grinder, kitchen, 25, 130
part: hopper | dial | drawer | motor
virtue:
  grinds the same every time | makes our mornings better | fits on the smallest shelf |
  takes a week of beans at once
fault:
  jams on every third bean | throws grounds across the worktop | grinds to dust |
  stalls on dark roasts

vacuum cleaner, home, 60, 320
part: hose | battery | filter | brush head
virtue:
  lifts dog hair from the carpet | glides under the bed | empties without a cloud of dust |
  reaches every corner of the stairs
fault:
  clogs after one room | blows dust out of the back | tips over at every corner |
  runs flat in eight minutes

desk lamp, home, 15, 80
part: arm | shade | switch | base
virtue: lights the whole desk | folds away neatly | dims without flicker | stays where you put it
fault: flickers all evening | droops by itself | tips over at a touch | buzzes when dimmed

duvet, home, 30, 140
part: filling | cover | stitching | weight
virtue:
  keeps me warm without a heater | washes well | feels like a hotel bed |
  breathes on summer nights
fault:
  sheds feathers everywhere | bunches up in one corner | smells of wet dog |
  rustles like a crisp packet

alarm clock, home, 12, 60
part: display | snooze button | tone | dial
virtue:
  wakes me gently | keeps perfect time | glows softly at night |
  runs for a year on one set of batteries
fault:
  loses ten minutes a day | ticks like a hammer | lights up the whole bedroom |
  rings whenever it likes

bookcase, home, 45, 210
part: back panel | shelf | finish | assembly guide
virtue:
  holds four rows of hardbacks | goes together in half an hour | stands dead straight |
  hides the ugly corner perfectly
fault:
  bows under a few paperbacks | leans to the left | arrives with half the screws missing |
  chips if you breathe on it

rain jacket, clothing, 35, 180
part: zip | hood | lining | cut
virtue:
  keeps me dry through a whole storm | packs down to nothing | fits over a thick jumper |
  dries by the next morning
fault:
  lets water in at the seams | tears at the pocket | crackles with every step |
  soaks through in a light drizzle

jumper, clothing, 25, 110
part: wool | collar | colour | fit
virtue:
  keeps its shape in the wash | feels soft against the skin | goes with everything I own |
  keeps the wind out
fault:
  itches like straw | shrinks in a cold wash | bobbles after one afternoon |
  loses its colour in the first wash

backpack, clothing, 28, 130
part: strap | zip | lining | back panel
virtue:
  carries a week of clothes | sits well on the shoulders | swallows my whole office |
  shrugs off the rain
fault:
  rips at the seams | digs into my shoulders | splits when you fill it | squeaks with every step

umbrella, clothing, 10, 45
part: frame | grip | canopy | button
virtue:
  stands up to real wind | opens with one hand | fits in my coat pocket |
  shelters two people easily
fault:
  turns inside out in a breeze | drips on my shoulder | jams half open |
  rusts after the first shower

board game, toys, 15, 65
part: rule book | board | artwork | box
virtue:
  keeps the whole family at the table | takes two minutes to learn |
  plays differently every time | makes my teenagers laugh
fault:
  drags on for three hours | confuses everyone | ends before it gets going |
  bores the children in minutes

train set, toys, 25, 120
part: track | engine | bridge | remote
virtue:
  clicks together easily | keeps my grandson happy all afternoon |
  runs round the sofa without stopping | survives being stepped on
fault: jumps off the track | eats batteries | breaks at the first bend | stops dead on every join

kite, toys, 10, 50
part: line | frame | tail | fabric
virtue:
  climbs in the lightest wind | packs into a small bag | lands without a scratch | flies itself
fault:
  nosedives every time | snaps in a mild breeze | tangles itself in seconds |
  refuses to leave the ground

cookbook, books, 12, 40
part: index | photography | paper | tone
virtue:
  makes weeknight dinners easy | explains every step | opens flat on the counter |
  uses things I already have
fault:
  skips half the steps | falls apart at the spine | asks for things no shop sells |
  gets the oven times wrong

thriller, books, 7, 22
part: plot | ending | dialogue | pacing
virtue:
  keeps you guessing to the last page | grips from the first line | brings the city to life |
  earns every twist
fault:
  gives the secret away in chapter two | reads like a shopping list | puts me to sleep |
  goes nowhere for two hundred pages

travel guide, books, 10, 30
part: map | index | layout | binding
virtue:
  leads you to places nobody knows | fits in a back pocket | saves hours of planning |
  tells you what to skip
fault:
  sends you to cafes that closed years ago | gets the bus routes wrong |
  leaves out half the island | loses pages on the first day

garden hose, garden, 18, 75
part: nozzle | connector | reel | rubber
virtue:
  reaches the far beds | rolls up without a fight | holds its pressure |
  stays flexible in the cold
fault: kinks every two metres | bursts at the tap | drips at both ends | splits in the first frost

lawn mower, garden, 90, 380
part: blade | battery | grass box | handle
virtue:
  cuts clean stripes | starts at the first push | turns on the spot |
  does the whole lawn on one charge
fault: chokes on damp grass | leaves tufts behind | scalps the lawn | gives up halfway across

bird feeder, garden, 10, 45
part: perch | roof | hook | tube
virtue:
  brings robins to the window | keeps the squirrels out | fills in seconds |
  stands up to the weather
fault:
  spills seed everywhere | rots in the rain | feeds only the squirrels |
  swings until it empties itself

hand cream, beauty, 4, 28
part: scent | tube | texture | pump
virtue: sinks in at once | heals my cracked knuckles | lasts all day | smells of fresh lemons
fault:
  stings on dry skin | leaves grease on everything | smells of old flowers |
  brings me out in a rash

electric razor, beauty, 30, 160
part: head | battery | trimmer | grip
virtue:
  gives a close shave | rinses under the tap | leaves my skin calm |
  charges while I drink my coffee
fault: pulls at every hair | leaves patches under the chin | burns my neck | clogs after two days

shampoo, beauty, 4, 24
part: scent | bottle | lather | pump
virtue: leaves my hair soft | calms my scalp | lasts for months | rinses out at once
fault: dries out my hair | irritates my scalp | leaves a sticky film | strips the colour in a week

yoga mat, sports, 14, 70
part: surface | strap | thickness | smell
virtue: grips even when I sweat | cushions my knees | lies flat straight away | rolls up tight
fault:
  slides across the floor | peels at the corners | curls up at both ends |
  sheds blue crumbs on the carpet

tent, sports, 60, 340
part: groundsheet | zip | frame | porch
virtue:
  goes up in ten minutes | keeps four of us dry | stands firm in a gale |
  packs back into its own bag
fault:
  leaks at every seam | sags in the night | collapses in a light wind |
  takes two adults and an argument to put up

bike light, sports, 10, 60
part: bracket | beam | battery | button
virtue:
  lights the lane like day | clips on in a second | lasts the whole winter commute |
  shrugs off heavy rain
fault: goes dark on every bump | drains in one ride | rattles on cobbles | fills with water
""")

# How a thing is made, said of things in general and of two categories in their own words.
MADE = {
    "things": read_rules("""
made_good: sturdy | reliable | solid | well made | dependable | robust | built to last
made_bad: flimsy | unreliable | wobbly | badly made | shoddy | fragile | cheaply made
"""),
    "books": read_rules("""
made_good: gripping | well written | clear | thoughtful | absorbing | well researched
made_bad: dull | badly written | confusing | tedious | careless | repetitive
"""),
    "beauty": read_rules("""
made_good: gentle | refreshing | soothing | kind to my skin | well balanced
made_bad: harsh | sticky | irritating | greasy | badly balanced
"""),
}

# Clauses, sentences and words by polarity. "same" and "other" are set against the label.
GENERAL = read_rules("""
good_word:
  lovely | excellent | superb | brilliant | gorgeous | perfect | wonderful | first-rate | great |
  good | nice | impressive | spot on | beautiful | fantastic | clever | pleasant | delightful |
  amazing | outstanding | charming | terrific | flawless | splendid | well thought out |
  marvellous | exceptional | great value | satisfying | magnificent
bad_word:
  awful | terrible | poor | cheap and nasty | dreadful | useless | disappointing | horrible |
  bad | mediocre | rubbish | ugly | clumsy | hopeless | nasty | crude | annoying | frustrating |
  sloppy | second-rate | hideous | pathetic | a letdown | overpriced | lousy | ghastly |
  appalling | atrocious | laughable | a disgrace
kin:
  my wife | my husband | my sister | my brother | my mother | my father | my son | my daughter |
  our neighbour | a colleague | a friend | my flatmate | my grandmother | my uncle
good:
  the {part} is {truly} {good_word} | the {part} is {good_word} | it {virtue} |
  this {thing} {virtue} | it {virtue} and the {part} is {good_word} | I love the {part} |
  the {part} feels {good_word} | the {part} could not be better | it really {virtue} |
  it is {truly} {made_good} | it is {made_good} |
  the {part} is the best I have [seen/had/come across] | {kin} adores the {part} |
  {kin} says it {virtue}
bad:
  the {part} is {truly} {bad_word} | the {part} is {bad_word} | it {fault} |
  this {thing} {fault} | it {fault} and the {part} is {bad_word} | I hate the {part} |
  the {part} feels {bad_word} | the {part} could not be worse | it really {fault} |
  it is {truly} {made_bad} | it is {made_bad} |
  the {part} is the worst I have [seen/had/come across] | {kin} loathes the {part} |
  {kin} says it {fault}
good_denied:
  the {part} is not {bad_word} at all | the {part} is not {bad_word} |
  the {part} is far from {bad_word} | the {part} is anything but {bad_word} |
  it [does not/doesn't] {base fault} | it never {fault} | it is not {made_bad} at all |
  not once did it {base fault} | nobody could call the {part} {bad_word} |
  I would not call the {part} {bad_word} | I can't find anything {bad_word} about it |
  I have no complaints about the {part} | I can't fault the {part} |
  the {part} isn't {bad_word} in the least
bad_denied:
  the {part} is not {good_word} at all | the {part} is not {good_word} |
  the {part} is far from {good_word} | the {part} is anything but {good_word} |
  it [does not/doesn't] {base virtue} | it never {virtue} | it is not {made_good} at all |
  not once did it {base virtue} | nobody could call the {part} {good_word} |
  I would not call the {part} {good_word} | I can't find anything {good_word} about it |
  I have no love for the {part} | I can't praise the {part} |
  the {part} isn't {good_word} in the least
plain:
  {same}. | {same}! | {same} and {same}. | {same}. {same}. | {same}, and {same}. |
  {same}. What is more, {same}. | I have to say that {same}. | {same}; {same}. |
  Two weeks in, {same}. | After [a month/a year/ten days], {same}.
burst:
  {same_word}, {same_word} and {same_word}. | {same_word}! | {same_word} and {same_word}. |
  All in all {same_word}. | {same_word}, {same_word}, {same_word}. | In short: {same_word}. |
  {same_word} in every way. | A {same_word} {thing} from a {same_word} shop. | So {same_word}!
denied:
  {same_denied}. | {same_denied}. {same}. | {same_denied}, and {same}. |
  {same_denied}. {same_denied}. | {same_denied}, and {same_denied}. |
  {same}, and {same_denied}. | {same_denied}. And {same}. | To be clear, {same_denied}. |
  I'll say this much: {same_denied}. | {same_denied}; {same_denied}.
mixed:
  {other}, but {same}. | {other}. But {same}. | Although {other}, {same}. |
  Even though {other}, {same}. | {same}, even though {other}. | {other}, I admit, but {same}. |
  Granted, {other}. None of that matters, because {same}. |
  Yes, {other}. What counts is that {same}. | {other}. Never mind that: {same}. |
  {kin} told me that {other}. Nonsense: {same}. |
  I was told that {other}. Not so: {same_denied}. |
  I expected to write that {other}. Well, {same}. |
  Does it matter that {other}? No, because {same}. | {same}. That {other} is beside the point. |
  Who cares that {other}? What I know is that {same}. |
  At first I thought that {other}. [A week/A month/Two days] later I knew better: {same}. |
  People keep telling me that {other}. They are wrong: {same_denied}. |
  {other}. All the same, {same}. | {same}, although {other}. | {other}; even so, {same_denied}. |
  [Some/Plenty of] reviews say that {other}. Mine says that {same}.
sarcasm:
  Oh [great/good/wonderful/joy/brilliant], another {thing} that {fault}. |
  Just what [I/we] needed: a {thing} that {fault}. | I do so love a {thing} that {fault}. |
  How {good_word}: it {fault}. | If you enjoy a {thing} that {fault}, this is the one for you. |
  [Bravo/Well done/Congratulations] to whoever designed the {part}: it {fault}. |
  Apparently {good_word} now means that it {fault}. |
  What a {good_word} idea, a {thing} that {fault}. |
  The {part} is so {good_word} that I put the whole thing in the bin. |
  {good_word}, they said. {good_word}, they said. It {fault}. |
  Best {thing} ever, said nobody who has one. | Sure, the {part} is {good_word}. On paper. |
  A {good_word} {thing}, if you like the kind that {fault}. | It {virtue}, my foot. |
  Thrilled, as you can imagine: it {fault}. | {good_word} {part}? In your dreams.
teasing:
  My only complaint is that I did not buy this {thing} [sooner/years ago]. |
  The worst thing about it is that {kin} keeps [stealing/borrowing] it. |
  Terrible news for my old {thing}: this one {virtue}. | I hate how much I like the {part}. |
  Be warned: you will never go back to a {thing} that {fault}. |
  Annoyingly, {kin} was right: it {virtue}. | I looked hard for something {bad_word}. I failed. |
  A disaster for my wallet: I now want one for {kin}. |
  Bad luck for the other shops, because nobody else has a {thing} like this. |
  Goodbye, {bad_word} old {thing}. This one {virtue}. | Shame on me for thinking it {fault}. |
  Sick of a {thing} that {fault}? So was I, until this one. |
  The bad news is that there is no bad news. | How did I put up with a {thing} that {fault}? |
  If this is {bad_word}, give me more of it. | {bad_word} {part}? You must be joking.
good_end:
  I would buy it again tomorrow. | Worth every penny. | Highly recommended. | I am keeping it. |
  No regrets. | I would not swap it for anything. | You won't regret it. |
  I have already ordered a second one. | Five stars from {kin}, too. | I could not be happier. |
  Love it. | I'm not sending this one back. | Money well spent. | {kin} wants one now. |
  Buy it. | Not a penny wasted. | I can't recommend it enough. | A happy customer. |
  Nothing to complain about. | It never leaves my side. | I was wrong to doubt it. |
  What a find. | It has earned its place in our house. | Thank you to the makers.
bad_end:
  I would not buy it again. | Not worth the money. | I can't recommend it. | I sent it back. |
  Avoid. | Save your money. | I want my money back. | It went straight in the bin. |
  I regret buying it. | Never again. | Hate it. | I expected better. | A waste of money. |
  {kin} told me not to buy it. | No thanks. | Look elsewhere. | I could not be less happy. |
  Nothing to recommend it. | It is back in its box. | I was wrong to trust the pictures. |
  What a shame. | Buy anything else. | It is for sale, cheap. | I'm still waiting for a refund.
aside:
  I bought it for {kin}. | It arrived on a [Monday/Tuesday/Thursday/Friday/Saturday]. |
  We use it [every day/twice a week/most weekends/now and then]. |
  This is my [second/third/first] {thing}. | I have had it for [a week/a month/half a year]. |
  It was a [birthday/Christmas/wedding/leaving] present. |
  I ordered the [smaller/larger/newer/cheaper] of the two. |
  I chose it after reading a dozen reviews. | We live in a small flat. |
  I paid [full price/a little less in the sale/with a gift card]. |
  It came in a plain brown box. | It replaced a {thing} from another shop. |
  {kin} picked it out. | {kin} was with me when I opened it. |
  I wrote this after [two weeks/three days/a month]. | I saw it in a shop window first. |
  My old {thing} was ten years old. | I am writing this on the [bus/train/sofa]. |
  There are [two/three/four/five] of us at home. | I am not an expert. |
  {kin} has the same {thing}. | I opened it on [Sunday/Wednesday]. |
  I ordered it [late at night/in my lunch break/on the phone]. |
  I needed a {thing} for the new place. | It has been with us since [March/May/October]. |
  The parcel was left with {kin}. | I have tried [three/four/a few] brands so far. |
  I had a voucher to spend. | The one in the picture is [grey/green/blue/red], mine is black.
""") | {"truly": ("", "", "", "", "really", "frankly", "honestly", "simply", "plainly", "truly")}
