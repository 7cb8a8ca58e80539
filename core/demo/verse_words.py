"""An older English for verse: words by their stress, and lines of ten syllables to hold them."""

from __future__ import annotations

from .grammar import phrases, read_rules

# Each rhyme: nouns of one syllable; verbs of one; verbs of two. They end the lines of LINES.
RHYMES = tuple(
    tuple(phrases(words) for words in rhyme.split(";"))
    for rhyme in """
    day | clay | May | lay | way | ray ; stay | pray | stray | play ; decay | obey | delay
    night | light | sight | flight | might ; fight | write ; alight | unite | ignite
    heart | art | dart | part | smart ; start | smart | part ; depart
    breath | death | faith ; ;
    eye | sky | lie | sigh ; die | fly | lie | sigh | cry ; reply | comply
    hour | flower | bower | tower | power ; lour | cower | sour ; devour
    tear | year | fear | ear | bier ; hear | fear | peer | cheer ; appear | draw near
    grace | face | place | space | race ; race | pace ; embrace | give place
    rose | snows | foes | woes | close ; close | doze ; repose | unclose
    stone | throne | moan | bone ; moan | groan ; atone
    dust | trust | rust | lust ; trust | rust ; distrust
    spring | king | wing | ring | thing ; sing | cling | spring | ring ; take wing
    dream | stream | gleam | beam ; dream | gleam | seem ; blaspheme
    grave | wave | slave | cave ; rave | crave | wave | slave ; behave
    name | flame | fame | shame ; flame | blame ; exclaim
    rest | breast | nest | guest ; rest | jest | nest ; protest
    fire | lyre | choir | briar ; tire ; expire | aspire | retire
    brow | vow | bough ; bow | vow ; allow
    land | hand | sand | band ; stand | land ; withstand
    gold | fold | mould | hold ; hold | fold ; unfold | grow old
    sea | tree | bee | key ; flee | be | see ; agree | go free
    deep | sheep | keep | sleep ; weep | creep | sleep ; fall asleep
    song | throng | wrong ; long | throng ; belong
    air | hair | prayer | snare ; dare | care | swear ; despair | forbear | repair
    pain | rain | chain | vein ; wane | reign | feign ; complain | remain
    bell | spell | knell | well ; dwell | swell | fell ; rebel
    pride | bride | tide | side ; hide | ride | chide ; abide | reside
    """.strip().splitlines()
)

WORDS = read_rules("""
noun:
  rose | sun | moon | star | heart | bird | lute | wind | thorn | flame | tear | lark | bell |
  dew | leaf | frost | bough | tomb | crown | brook | mist | vale | sword | oak | bloom | soul |
  cloud | swan | torch | veil | harp | shore | storm | pearl | dawn | muse
long_noun:
  summer | winter | morning | evening | sorrow | shadow | lover | garden | river | blossom |
  maiden | shepherd | heaven | lily | temple | battle | beauty | fortune | mirror | autumn |
  tempest | nature | monarch | meadow | slumber | virtue | herald
adj:
  fair | sweet | cold | dark | soft | bright | pale | true | false | proud | kind | wan | sad |
  deep | chaste | blest | mild | stern | swift | dim | vain | meek
long_adj:
  gentle | golden | silver | bitter | tender | weary | cruel | holy | lonely | silent | ancient |
  fading | wanton | crimson | mournful | noble | wintry | faithful | hollow | heavy | humble |
  sable | fickle | joyless | lovely
eth:
  fadeth | weepeth | singeth | sleepeth | calleth | shineth | waneth | burneth | turneth |
  lieth | bloometh | crieth | dwelleth | mourneth | wakens not | riseth | falleth | trembleth
verb:
  fade | weep | sing | sleep | call | shine | wane | burn | wake | mourn | creep | bloom | rise |
  fall | sigh | dream | fly | rest | rove | blush | droop
past:
  lost | sworn | sung | wept | won | left | found | loved | borne | mourned | kissed | spurned |
  blest | sought | slain | wooed
""")

NOUN_LINES = phrases(
    """
    When I behold the {long_adj} {noun} of {end}, |
    And yet thy {noun} doth {verb} beyond the {end}, |
    Thou art the {noun} that {eth} in my {end}; |
    O {long_adj} {long_noun}, wherefore hide thy {end}? |
    Nor {noun} nor {long_noun} shall undo thy {end}, |
    Mine eyes have {past} the {long_adj} {noun} of {end}, |
    The {long_adj} {long_noun} {eth} in thy {end}; |
    Hast thou not {past} the {noun} that was thy {end}? |
    And in thy {noun} I see the {adj}, {adj} {end}. |
    Forsake me not, O {noun} of {long_adj} {end}, |
    As doth the {long_noun} to the {long_adj} {end}, |
    Whose {adj} and {long_adj} {noun} is but thy {end}; |
    What {noun} hath {past} the {long_noun} of thy {end}? |
    Yet ere the {long_adj} {long_noun} brought the {end}, |
    Lo, where the {noun} doth {verb} upon the {end}! |
    Alas, my {noun}, thou art the {long_noun}'s {end}, |
    So {eth} now the {long_noun} and the {end}, |
    'Tis not the {noun} that {eth} by thy {end}, |
    Methinks the {long_noun} {eth} for thy {end}, |
    Ye {long_adj} {noun}s, that {verb} about the {end}, |
    O tell me, {long_noun}, where is now thy {end}? |
    Come, {adj} {long_noun}, lend to me thy {end}, |
    And all the {noun} of {long_noun} lost its {end}. |
    Thine is the {noun}, and thine the {long_adj} {end}, |
    My {long_adj} {noun}, thou {long_noun} of the {end}, |
    Upon thy {noun} the {long_noun} set his {end}, |
    If thou be {adj}, then {adj} is every {end}, |
    Thus did the {long_noun} mock thy {long_adj} {end}.
    """
)
SHORT_VERB_LINES = phrases(
    """
    Nor shall the {long_adj} {long_noun} bid thee {end}; |
    And if my {noun} should {verb}, thou wilt not {end}. |
    I pray thee, {long_noun}, teach my {noun} to {end}, |
    How canst thou hear my {long_noun} and not {end}? |
    Then let the {noun} and {long_noun} also {end}, |
    For thou alone hast {past} what I would {end}. |
    Though all the {noun}s of {long_noun} now should {end}, |
    Thy {long_adj} {long_noun} knoweth how to {end}; |
    But thou, {adj} {long_noun}, wilt thou never {end}? |
    My {noun} hath {past}, and yet I dare not {end}, |
    Since what thou lov'st the {long_noun} cannot {end}, |
    The {noun} doth {verb}, and so must I too {end}. |
    When {long_noun} {eth}, then shalt thou too {end}, |
    O bid me not, {adj} {long_noun}, thus to {end}! |
    Whate'er the {long_noun} {eth}, thou must {end}, |
    Wouldst thou, my {noun}, with {long_adj} {long_noun} {end}? |
    Let not thy {noun} in {long_adj} {long_noun} {end}, |
    And none but thou, {adj} {noun}, hath made me {end}. |
    Nay, {verb} no more, lest {long_noun} also {end}; |
    Thou mayst not {verb}, nor yet may I now {end}.
    """
)
LONG_VERB_LINES = phrases(
    """
    O bid not thou my {long_adj} {noun} {end}, |
    Yet by the {long_noun} shall thy {noun} {end}; |
    When {noun} and {noun} and {long_noun} all {end}, |
    And {long_adj} {noun}s with {long_noun} shall {end}; |
    How shall the {noun} of {long_noun} not {end}? |
    Thou canst not with a {long_noun}'s {noun} {end}, |
    My {noun}, my {noun}, wherefore didst thou {end}? |
    Or with the {adj} and {long_adj} {noun} {end}, |
    Thy {long_adj} {noun} hath bid my {noun} {end}. |
    Lest in thy {noun} the {long_noun} should {end}; |
    Then dost thou, {long_adj} {noun}, in vain {end}, |
    Ere yet the {noun} of {long_adj} love {end}.
    """
)
LINES = (NOUN_LINES, SHORT_VERB_LINES, LONG_VERB_LINES)
