"""Scenes of everyday life, and the words that fill them."""

from __future__ import annotations

from .grammar import read_rules

NAMES = {
    "she": ("Anna", "Maria", "Ruth", "Clara", "Nadia", "Helen", "Priya", "Sarah", "Emma", "Grace"),
    "he": ("Tom", "Daniel", "Peter", "Omar", "Jack", "Paul", "Ben", "Victor", "Sam", "Martin"),
}

PRONOUNS = {
    "she": {"he": ("she",), "his": ("her",), "him": ("her",)},
    "he": {"he": ("he",), "his": ("his",), "him": ("him",)},
}

WORDS = read_rules("""
day: Monday | Tuesday | Wednesday | Thursday | Friday | Saturday | Sunday
month: January | March | April | May | June | August | September | November
hour: six | seven | eight | nine | ten | half past four | noon | midnight
number: two | three | four | five | six | seven | eleven | twenty | thirty
weather:
  raining | snowing | warm and still | grey and windy | cold and bright | foggy | dry |
  too hot to think | drizzling | stormy
feeling:
  tired | happy | nervous | relieved | curious | hungry | calm | proud | confused | annoyed |
  hopeful | bored | worried | cheerful | surprised
town:
  Bristol | Leeds | Dublin | Boston | Lisbon | Oslo | Toronto | Chicago | Berlin | Glasgow |
  Madrid | Vienna
street:
  {onset}{ending} Road | Mill Road | Station Street | Park Lane | Hill Street | the high street
room: kitchen | office | bedroom | hall | garage | library | bathroom | basement
kin: sister | brother | mother | father | cousin | neighbour | aunt | uncle | boss
job:
  nurse | teacher | driver | engineer | baker | lawyer | plumber | reporter | dentist |
  programmer | waiter | mechanic | librarian | photographer
food:
  soup | bread | pasta | rice | salad | a sandwich | fried eggs | pancakes | curry | apple pie |
  roast chicken | cheese on toast
fruit: apples | oranges | tomatoes | potatoes | onions | peaches | carrots | plums
drink: coffee | tea | water | orange juice | hot chocolate | lemonade
animal: dog | cat | horse | rabbit | parrot | goat | duck
colour: red | blue | green | yellow | white | black | brown | grey
size: small | large | narrow | tall | heavy | old | new | round | broken
thing:
  bicycle | computer | phone | map | radio | camera | suitcase | chair | lamp | printer | box |
  clock | jacket | notebook | key | ladder | window | guitar
vehicle: bus | train | tram | taxi | ferry | van | plane
subject:
  history | music | chemistry | football | politics | gardening | geography | cooking |
  computers | mathematics | film | economics
sport: football | tennis | basketball | hockey | chess | swimming | cricket
plan:
  move to {town} | learn to drive | change jobs | buy a house | write a book | start a business |
  go back to school | adopt a {animal} | run a marathon
task:
  answer the emails | fix the {thing} | call the bank | finish the report | clean the {room} |
  pay the rent | book the tickets | paint the fence | water the plants
place:
  the park | the station | the market | the museum | the beach | the hospital | the airport |
  the café on the corner | the swimming pool | the town hall | the cinema
when:
  on {day} | last {month} | this morning | yesterday | a week ago | after lunch |
  in the evening | at {hour} | early on {day}
said: said | explained | shouted | whispered | replied | added | repeated
season: spring | summer | autumn | winter
nature:
  moon | sun | river | garden | meadow | shore | storm | mist | frost | brook | oak | rose | swan |
  valley | sea | wind | cloud | star | lark | blossom | leaf | thorn | stream | sky | tree | wave |
  land | sand | bird | dawn | evening | morning | night | tide | dew | lily
object:
  crown | sword | torch | veil | harp | pearl | mirror | bell | throne | flame | tomb | tower |
  ring | chain | temple | cave | bower | key | nest | snare | dove | flower | stone | fire
person:
  king | queen | shepherd | lover | bride | slave | guest | maiden | monarch | prince | soldier |
  poet | pilgrim | herald | stranger | singer
quality:
  gentle | golden | silver | bitter | tender | weary | cruel | holy | lonely | silent | ancient |
  fading | crimson | mournful | noble | wintry | faithful | hollow | humble | fickle | fair |
  sweet | dark | soft | bright | pale | true | false | proud | kind | sad | deep | mild | stern |
  swift | dim | vain | meek | wanton | lovely
notion:
  love | death | beauty | fortune | sorrow | virtue | pride | pain | fear | hope | faith | grace |
  fame | shame | trust | power | time | sleep | truth | glory | anger | silence | war | nature
act:
  fade | weep | sing | sleep | shine | burn | wake | mourn | bloom | fall | dream | rest | sigh |
  wander | tremble | creep | pray | cling | fly | despair | complain | depart | obey
onset:
  Ash | Bar | Bel | Ben | Bor | Brad | Brim | Cal | Car | Chil | Clay | Col | Cran | Dal | Den |
  Dor | Dun | Elm | Fair | Far | Fen | Gal | Gor | Had | Hal | Har | Hath | Hol | Kel | Kin |
  Lang | Lin | Lor | Mal | Mar | Mel | Mil | Mor | Nor | Oak | Pel | Pen | Quin | Rad | Rid |
  Ros | Sal | Sel | Shel | Stan | Stir | Tal | Thorn | Tor | Ul | Vin | Wal | War | Wen | Whit |
  Wil | Yar | Zel
ending:
  ton | ley | ford | ham | wick | son | man | field | wood | worth | by | well | more | dale |
  stead | er | ing | ett | ard | low | shaw | burn | croft | den | hurst | combe | mouth
surname: {onset}{ending}
village: {onset}{ending}
""") | {"line": ("\n",)}

# Sentences that may open, carry on and close a paragraph, scene by scene.
SCENES = tuple(
    read_rules(scene)
    for scene in r"""
opening:
  {name} takes the {vehicle} to work every morning. |
  The {vehicle} to {town} was late again {when}. |
  It was {weather} when {name} left the house {when}. |
  {name} missed the first {vehicle} and had to wait for the next one.
middle:
  The driver said that the road near {place} was closed. |
  A woman with a {colour} {thing} sat down beside {him}. | Nobody on the {vehicle} was talking. |
  {he} read {number} pages and looked out of the window. |
  The seats were full, so {he} stood near the door. |
  A boy asked {him} whether this was the right way to {place}. |
  It stopped for {number} minutes outside {town}. |
  {he} bought {drink} and drank it on the platform.
closing:
  {he} arrived at {hour}, {feeling} and a little late. | By {hour} {he} was at {his} desk. |
  In the end {he} walked the rest of the way. | Tomorrow {he} will leave the house earlier.

opening:
  The market on {street} opens at {hour}. | {name} goes to the market on {day}. |
  There is a new shop on {street} that sells {fruit} and {fruit}. |
  {name} needed {fruit} for dinner.
middle:
  A kilo of {fruit} costs less than it did last {month}. |
  The {fruit} were fresh, but the {fruit} looked old. |
  The man behind the counter is a {job} during the week. |
  {he} paid in cash and forgot {his} change. |
  {friend} was there too, looking for a {size} {thing}. |
  They talked about the price of {fruit}. | Somebody had left a {colour} {thing} near the door. |
  {he} put {number} {fruit} into a paper bag.
closing:
  On the way home {he} stopped at {place}. | {he} carried everything home in {number} bags. |
  The shop closes at {hour} on {day}. | {he} was {feeling} when {he} got home.

opening:
  The meeting began at {hour} in the small {room}. |
  {name} has worked as a {job} in {town} for {number} years. |
  The office moved to {street} last {month}. | {name} started a new job {when}.
middle:
  {friend} asked who was going to {task}. | Nobody had an answer. |
  The {thing} did not work, so they used a whiteboard. |
  The first {number} people to arrive got a chair. | {he} had to {task} before {hour}. |
  Someone opened a window because the {room} was too warm. |
  They agreed to {task} and to talk again on {day}. |
  {his} boss, a former {job}, likes short meetings. |
  {he} wrote everything down in a {colour} notebook.
closing:
  The meeting ended at {hour}. | Afterwards {name} and {friend} went out for {drink}. |
  {he} went back to {his} desk and started to {task}. | It was a long day, but a useful one.

opening:
  To make {food} you need {fruit}, a {size} pan and some patience. |
  {name} learned to cook from {his} {kin}. | {when} {name} made {food} for {friend}. |
  The recipe for {food} was written on the back of a letter.
middle:
  First cut the {fruit} into small pieces. | Then add salt, a little oil and a cup of water. |
  Let it cook for {number} minutes and stir it now and then. |
  {he} dropped the lid and woke the {animal}. | The {room} smelled of {fruit} and {drink}. |
  There was no butter, so {he} used oil instead. | {friend} laid the table and opened a bottle. |
  If it looks too dry, add more water. | {he} tasted it and added some pepper.
closing:
  Serve it hot with {food}. | They ate at {hour} and talked until late. |
  It was better than {he} expected. | There was enough left for {day}.

opening:
  It has been {weather} since {day}. | The forecast for {day} says that it will be {weather}. |
  {when} it was {weather} in {town}. | The storm reached {town} {when}.
middle:
  The river behind {place} rose by {number} centimetres. |
  The schools stayed closed until {day}. | {name} put on a {colour} coat and went out to look. |
  A tree fell across {street} and stopped the traffic. | The lights went out at {hour}. |
  People stood in the doorways and waited. | The {animal} refused to leave the {room}. |
  {friend} called to ask whether everything was all right. | Farmers in the area were {feeling}.
closing:
  By {hour} the sky was clear again. | On {day} the sun came out. |
  The repairs will take {number} weeks. | Nobody was hurt.

opening:
  {name} wants to {plan}. | {name} told {his} {kin} that {he} wanted to {plan}. |
  For years {name} had talked about a plan to {plan}. |
  {friend} does not think that {name} should {plan}.
middle:
  {his} {kin} thought that it was a good idea. | It would cost more than {he} had. |
  {he} made a list of {number} reasons. | The first step was to {task}. |
  {he} asked {friend}, who is a {job}, for advice. |
  "Think about it until {day}," {friend} {said}. |
  "You can always change your mind," {friend} {said}. |
  {he} had read {number} books about {subject}. | At night {he} lay awake and felt {feeling}.
closing:
  In {month} {he} finally did it. | {he} has not decided yet. |
  {he} will try again next {month}. | Now {he} is {feeling}, and that is enough.

opening:
  The {animal} next door is {number} years old. | {name} found a {size} {animal} near {place}. |
  {friend} has a {colour} {animal} that sleeps in the {room}. |
  Every evening {name} walks the {animal} to {place}.
middle:
  It follows {him} everywhere. | It is afraid of the {thing} in the {room}. |
  It ate the {food} that {he} had left on the table. |
  The vet on {street} said that it was healthy. | The children want to give it a name. |
  It sits at the window and watches the {vehicle} go by. | {his} {kin} does not like animals. |
  It once got lost and came back after {number} days.
closing:
  At {hour} it falls asleep under the {thing}. | {he} cannot imagine the house without it. |
  Nobody knows who owns it. | On {day} they took it to {place}.

opening:
  The team from {town} played {sport} {when}. |
  {name} has played {sport} since {he} was {number}. |
  {number} people came to watch the {sport} match {when}. |
  {friend} teaches {sport} at the school on {street}.
middle:
  It was {weather}, and the ground was wet. | In the first half nothing happened. |
  {name} lost {his} shoe and kept running. | The coach, a {job}, shouted the whole time. |
  They trained {number} times a week. | {friend} hurt {number} fingers and had to stop. |
  The other team was younger and faster. | At the break they ate {fruit} and drank {drink}.
closing:
  They won in the last minute. | They lost, but nobody was sad. | The next match is on {day}. |
  Afterwards everyone went to {place}.

opening:
  {name} studies {subject} in {town}. | The class in {subject} starts at {hour}. |
  The library on {street} is open until {hour}. | {name} is reading a book about {subject}.
middle:
  The teacher used to be a {job}. | There are {number} students in the room. |
  {he} likes {subject} more than {subject}. | The exam is in {month}. |
  {friend} lent {him} a {colour} notebook. |
  {he} writes short notes and learns them on the {vehicle}. |
  The {thing} in the corner makes a strange noise. |
  The second chapter explains the basics of {subject}. |
  "Does anyone have a question?" the teacher {said}.
closing:
  {he} hopes to finish by {month}. | After class they meet at {place}. |
  It is hard work, but {he} enjoys it. | {he} gave the book back on {day}.

opening:
  The {thing} in the {room} is broken. | {name} bought a {size} {thing} {when}. |
  The new {thing} arrived {when}. | {name} spent {day} repairing an old {thing}.
middle:
  It makes a noise when it is {weather}. | The instructions were in {number} languages. |
  {he} took it apart and put the screws into a cup. |
  A part was missing, so {he} called the shop. |
  {his} {kin} said that it was not worth the trouble. |
  It belonged to {friend} for {number} years. | {he} cleaned it with warm water. |
  It did not fit through the door of the {room}. | A {job} from {street} came to look at it.
closing:
  In the end {he} bought another one. | Now it works again. |
  It is still standing in the {room}. | {he} gave it to {his} {kin}.

opening:
  Dear {friend}, thank you for your letter. | Dear {friend}, I am writing to you from {town}. |
  Hello {friend}, how are you? | Hello {friend}, I hope that you are well.
middle:
  It has been {weather} here all week. | My {kin} sends her love. |
  I am still trying to {task}. | I met {name} at {place}, and we talked about {subject}. |
  The flat is {size}, but I like it. | Could you send me the {colour} {thing}? |
  Work is fine, although I am often {feeling}. | On {day} we had {food} at {place}. |
  I have decided to {plan}.
closing: See you in {month}. | Write soon. | I will call you on {day}. | Best wishes, {name}.

opening:
  The house on {street} has {number} rooms. | {name} moved to {town} in {month}. |
  The flat above the shop has been empty since {month}. |
  {name} and {friend} are looking for a flat in {town}.
middle:
  The {room} is {size}, but it gets a lot of light. | From the window you can see {place}. |
  The rent is due on {day}. | The walls are {colour}, and the floor is made of wood. |
  The neighbours are quiet and work as {job}s. |
  {he} owns a {thing}, a {thing} and {number} plates. |
  The {vehicle} stops in front of the door. | The heating did not work for {number} days. |
  {he} painted the {room} {colour}.
closing:
  They will decide by {day}. | After {number} weeks it felt like home. |
  In the evening you can hear the {vehicle}. | {he} does not want to move again.

opening:
  The waiting room was full when {name} arrived. | {name} called the doctor {when}. |
  {name} has had a cold since {day}. | {friend} works at the hospital in {town}.
middle:
  The nurse asked {him} to sit down. | {he} slept badly and had a headache. |
  The doctor told {him} to rest and drink {drink}. |
  A child was playing with a {colour} {thing}. | {he} waited for {number} minutes. |
  {his} {kin} drove {him} there. | The form had {number} pages. | It was nothing serious. |
  {he} was {feeling}, but {he} tried to smile.
closing:
  {he} went home and slept until {hour}. | On {day} {he} was back at work. |
  The next appointment is in {month}. | After {number} days {he} felt better.

opening:
  The phone rang at {hour}. | "Where are you?" {friend} asked. |
  {name} forgot {his} {thing} at {place}. | Somebody knocked at the door {when}.
middle:
  "I am at {place}," {name} {said}. | "I thought that we would meet at {hour}," {name} {said}. |
  It was {his} {kin}, who wanted to talk about {subject}. | "Did you {task}?" {friend} asked. |
  "Not yet," {name} {said}. | There was a long silence. |
  "Bring the {thing} with you," {friend} {said}. | {he} looked for {his} keys in the {room}. |
  {he} could hardly hear a word, because a {vehicle} was passing.
closing:
  Then the line went dead. | They laughed and agreed to meet on {day}. |
  {he} was {feeling} for the rest of the day. | {number} minutes later {he} was on the {vehicle}.

opening:
  The company sells {thing}s in {number} countries. | Most people in {town} use the {vehicle}. |
  The museum of {subject} in {town} opened in {month}. | The council wants to rebuild {place}.
middle:
  Prices have risen for {number} months. | According to a report, {number} of ten people agree. |
  The director, a former {job}, did not want to comment. | The work will cost {number} million. |
  Visitors can see a {size} {colour} {thing} from the last century. |
  The plan has been discussed since {month}. | Many people are {feeling} about the change. |
  A group of {job}s wrote a letter to the mayor.
closing:
  A decision is expected on {day}. | The doors are open until {hour}. |
  The results will be published in {month}. | More news will follow.

opening:
  The museum in {town} shows a painting of a {quality} {object}. |
  {name} saw a film about {notion} and {notion} {when}. |
  {friend} has written a play about a {person} and a {person}. |
  The new book by {name} {surname} is about {notion}.
middle:
  It tells of a {person} who looks for {notion} and finds {notion}. |
  In the first scene the {nature} is {quality} and the {person} begins to {act}. |
  The critics called it {quality} and {quality}. |
  The artist painted the {nature}, the {nature} and the {nature} many times. |
  One of them shows a {person} with a {quality} {object}. |
  In another room hangs a {quality} {nature} by {surname}. |
  The {object} stands for {notion}, and the {object} stands for {notion}. |
  {friend} thought that the ending was too {quality}. |
  The music made {him} {act}, and {his} {kin} fell asleep.
closing:
  Tickets are sold out until {month}. | {name} wants to see it again. |
  At the end nobody knows what {notion} is. | It can be seen until {day}.

opening:
  In {season} the {nature} near {village} is {quality}. |
  {name} grew up in the village of {village}. |
  They left {village} at {hour}, when the {nature} was still {quality}. |
  {name} {surname} lives alone beside the {nature}.
middle:
  You could see the {nature} and hear the {nature}. |
  The {nature} was {quality}, the {nature} was {quality}, and nobody spoke. |
  {friend} stopped to look at a {nature}. | In the {season} the birds {act} and the flowers {act}. |
  Behind the hill there was a {object} made of stone. | They say that a {person} is buried there. |
  {he} walked along the {nature} until {hour}. | A {quality} {nature} lay over the fields. |
  The farmer, Mr {surname}, sold them {fruit} and {drink}.
closing:
  They reached {village} at {hour}. | It was a {quality} {season}. |
  The {nature} had begun to {act}. | {he} had never seen so much {nature}.

opening:
  {name} told the children a story about a {person}. |
  Once there was a {quality} {person} in {village}. |
  Last night {name} had a dream about a {object}. |
  {friend} sang a song about {notion} and the {nature}.
middle:
  The {person} had a {quality} {object} and lived near the {nature}. |
  One night the {object} began to {act}. | Nobody knew why the {person} would {act}. |
  Then a {person} came and asked for the {object}. |
  "I have lost my {notion}," the {person} {said}. |
  The {nature} was {quality}, but the {person} did not {act}. |
  They looked for it in the {nature}, in the {nature} and under the {object}. |
  For {number} years there was no {notion} in {village}. | "Why do you {act}?" asked the {person}.
closing:
  In the end the {person} found the {object} in the {nature}. |
  The children wanted to hear it again. | And that was the end of the {object}. |
  When {he} woke up, the {nature} was {quality}.

opening:
  Notes for {day}: | To do before {hour}: | A list for {friend}: | Things that {name} forgot:
middle:
  {line}{task} | {line}{number} {fruit} | {line}a {colour} {thing} |
  {line}call {surname} about the {thing} | {line}meet {friend} at {place} |
  {line}{food} for {kin} and {kin} | {line}{vehicle} to {village} at {hour} |
  {line}a {size} {object} | {line}read about the {nature} and the {nature}
closing:
  {line}{task} | {line}buy {fruit} | {line}nothing else | {line}sleep

opening:
  {surname} and {surname} make {thing}s. | Mr {surname} has lived on {street} for {number} years. |
  The village of {village} lies between {village} and {village}. |
  Mrs {surname} is looking for a {job} in {village}.
middle:
  The factory in {village} was built by the {surname} family. |
  The road from {village} to {village} is {size}. |
  Mr {surname} from {village} bought the {thing} of Mrs {surname}. |
  Among the guests were {name} {surname}, {friend} {surname} and a {job} from {village}. |
  The {vehicle} to {village} leaves at {hour}. | The old name of {village} is {village}. |
  {surname}, a {job}, does not know {surname}, a {job}.
closing:
  The mayor of {village} was not at home. | {surname} will answer on {day}. |
  Nothing has changed in {village}. | Write to {name} {surname}, {street}, {village}.
""".strip().split("\n\n")
)
