"""Templates of our own that use every construct of Jinja's manual for template designers: what an
expression, a statement, a filter, a test or a global does to ordinary and to odd values."""

# What the templates see.
VARIABLES = {
    "text": "Hello, wörld! it's <b>bold</b> & 'quoted'\n\n  second line\n",
    "words": "the quick brown-fox jumps over the well-known lazy dog again",
    "n": 42, "negative": -7, "x": 3.75, "big": 1e16, "small": 1e-7, "whole": 2.0, "yes": True, "no": False,
    "nothing": None, "empty": "", "empty_list": [], "empty_dict": {},
    "numbers": [3, 1, 2, 3, -1], "floats": [1.0, 2.5, 1e16, 1e-7], "letters": ["b", "A", "c", "a", "B"],
    "mixed": [1, "two", 3.0, None, True, [1, "x"], {"k": "v"}],
    "user": {"name": "Ann", "age": 30, "items": 7, "tags": ["x", "y"], "address": {"city": "Zürich", "zip": None}},
    "users": [{"name": "Ann", "age": 30, "city": "Bern"}, {"name": "bob", "age": 25, "city": "aarau"},
              {"name": "Cy", "age": 30, "city": "bern"}, {"name": "dan", "city": "Bern"}],
    "pairs": {"b": 2, "A": 1, "c": 3}, "keys": {"1": "one", "true": "yes", "it's": '"'},
    "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3, "kids": [{"v": 4, "kids": []}]}]}, {"v": 5, "kids": []}],
    "odd": "\x00\x7f\x85\u00a0\u2028\u200b\ue000😀é\t\\", "tools": [{"name": "f", "parameters": {"type": "object"}}],
}

EXPRESSIONS = r"""
1 + 2 * 3 - 4 / 2
7 // 2, -7 // 2, 7 // -2, -7 % 3, 7 % -3, 7.5 // 2, -7.5 % 2, 5 % -2.5
2 ** 10, 2 ** -1, 2 ** 0.5, -2 ** 2, (-2) ** 2, 2 ** 3 ** 2
1 / 0
1 // 0
1 % 0
1.0 / 0
10 / 5, 1 / 3, 2 / 3, 1e300 * 10, 1e16 + 1
9007199254740993 + 1, 12345678901234567890 * 10
0x1F, 0b101, 0o17, 1_000, 1_0.5_0, 1e3, 1E-5, 0
true, false, none, True, False, None
'a' 'b' "c", 'it\'s', "tab\there", 'uni\u00e9\x41\101', 'back\\slash', 'é', '\q'
'a' + 'b', 'ab' * 3, 3 * 'ab', 'ab' * 0, 'ab' * -1
'a' + 1
1 + 'a'
[1, 2] + [3], [1] * 3, (1, 2) + (3,), [1] + (2,)
[1, 2] * 2, (1,) * 2
true + 1, true * 5, -true, +true, true / 2
-n, +x, not yes, not nothing, - 3 | abs, -3 | abs, -3.5|abs
1 < 2 < 3, 1 < 3 < 2, 1 == 1.0, 1 == true, 'a' < 'b', [1, 2] < [1, 3], (1, 2) < (1, 2, 0)
1 < 'a'
none < 1
'a' in 'abc', 1 in [1, 2], 'k' in {'k': 1}, 5 not in [1], 'x' not in 'abc', 2 in range(3), '' in ''
1 in 'abc'
1 in 5
1 in none
[1, 2] == [1, 2], {'a': 1} == {'a': 1.0}, (1,) == [1], 'a' == 1, none == false, none == none
1 if yes else 2, 1 if no, (1 if no) is undefined, 'x' if no else 'y' if yes else 'z'
yes and no, yes or no, nothing or 'default', '' and 1, 0 or [] or {} or 'last', not (yes and no)
'a' ~ 1 ~ 2.0 ~ none ~ true ~ [1.0, 'x'] ~ {'k': none}
1 + 2 ~ 3, 2 * 3 ~ 4, -1 ~ 'x'
user.name, user['name'], user.address.city, user['address']['city'], user.missing, user['missing']
user.missing.deeper
missing.attribute
missing['item']
missing + 1
missing ~ 'x', missing == missing, missing == none, not missing, missing is defined
missing()
user.items() | list, user['items'], user.keys() | list, user.values() | list
user.items, 1
user.get('name'), user.get('nope'), user.get('nope', 'd'), user.get('address', {}).get('zip')
user.pop('name')
user.update({})
user.__class__, user.__class__ is defined, user['__class__'] is defined, text.__len__ is defined
numbers[0], numbers[-1], numbers[10], numbers[10] is defined, numbers.0, numbers[true]
numbers['x'], numbers[1.5], numbers[none] is defined
numbers[1:], numbers[:-1], numbers[::2], numbers[::-1], numbers[1:3:1], numbers[-100:100], numbers[3:1], numbers[5:0:-2]
text[0], text[-1], text[1:5], text[::-1], text[::3], text[100:] , text[7:9]
numbers[::0]
n[0], n[0] is defined
none[0] is defined
n[1:2]
(1, 2, 3)[1:], (1, 2)[0], range(10)[2:5], range(10)[::2], range(5)[-1]
{'a': 1, 'b': [1.0, none, true, 'q']}, {}, [], (), (1,), (1, 2), {1: 'x', none: 2, 1.5: 3, (1, 2): 4}
{[1]: 2}
{'a': 1, 'a': 2}, {1: 'a', 1.0: 'b', true: 'c'}
mixed, floats, pairs, users, odd, [odd], [text], ["it's", 'say "x"', 'both \'"'], ['\n\r\t\\']
big, small, whole, x, 1e22, 1e15, 123456789012345680.0, 1.5e-5, 0.0001, -0.0, 1e100, 5e-324, 0.1 + 0.2
[1e22, 1e15, -0.0, 1e-5]
'%s' % 'x', '%s and %s' % (1, 'b'), '%d' % 3.7, '%5.2f|' % x, '%-5s|' % 'a', '%05d' % 42, '%+d' % 5, '%x %X %o' % (255, 255, 8), '%%', '%r' % 'a', '%(a)s' % {'a': 1}, '%e' % 12345.678, '%g' % 1e10, '%g' % 0.0001, '%c' % 65, '%s' % none, '%s' % [1.0], '%.3s|' % 'abcdef', '%5s|%-5s|' % ('a', 'b'), '%#x' % 255, '% d' % 5, '%*d' % (5, 42), '%i' % true
'%d' % 'a'
'%s %s' % 1
'%s' % (1, 2)
'%y' % 1
'%(a)s' % 5
'x' % ()
'x' % 1
'x' % {}
'{} {}'.format(1, 'b'), '{0}{1}{0}'.format('a', 'b'), '{a}{b.name}{c[0]}'.format(a=1, b=user, c=numbers), '{:>5}|{:<5}|{:^5}|'.format('a', 'b', 'c'), '{:05.1f}'.format(x), '{:,}'.format(1234567), '{:+d} {:x} {:#x} {:b} {:o}'.format(5, 255, 255, 5, 8), '{!r} {!s}'.format('a', 'b'), '{{}}'.format(), '{:.2%}'.format(0.256), '{:*^9}'.format('mid'), '{:e} {:g} {:.3g}'.format(12345.678, 1e10, 3.14159), '{:>{w}}'.format('x', w=4), '{:_}'.format(1234567), '{:10}|{:10}|'.format('s', 5), '{:08,}'.format(1234), '{:.3}'.format(3.14159), '{}'.format(1.0), '{:.0f} {:.1f}'.format(2.5, 0.25)
'{}'.format()
'{} {0}'.format(1, 2)
'{x}'.format(y=1)
'{:d}'.format('a')
'{'.format()
'{a.__class__}'.format(a=1), 'x'
'{a} {b}'.format_map({'a': 1, 'b': 2.0})
text.upper(), text.lower(), 'heLLo wOrld'.capitalize(), "it's a dog's life".title(), 'aBc'.swapcase(), 'Straße'.casefold()
'  x '.strip(), 'xxaxx'.strip('x'), ' x '.lstrip(), ' x '.rstrip(), 'abcabc'.strip('abc')
'a,b,,c'.split(','), ' a  b '.split(), 'a,b,c'.split(',', 1), 'a,b,c'.rsplit(',', 1), 'a b c'.split(maxsplit=1), 'a-b'.split(sep='-'), ''.split(), ''.split(',')
'a'.split('')
'a\nb\r\nc\x0bd\n'.splitlines(), 'a\nb\n'.splitlines(true), 'a\nb'.splitlines(keepends=true)
'abcabc'.find('c'), 'abcabc'.rfind('c'), 'abc'.find('z'), 'abcabc'.index('b'), 'abcabc'.count('b'), 'abcabc'.find('c', 3), 'aaa'.count('a', 1, 2), 'abc'.count('')
'abc'.index('z')
'abc'.startswith('a'), 'abc'.endswith(('x', 'c')), 'abc'.startswith('b', 1), 'abc'.endswith('b', 0, 2)
'abc'.startswith(1)
'a-b-c'.replace('-', '+'), 'a-b-c'.replace('-', '+', 1), 'abc'.replace('', '.')
'-'.join(['a', 'b']), ''.join(letters), ', '.join('abc')
'-'.join([1])
'a-b-c'.partition('-'), 'a-b-c'.rpartition('-'), 'abc'.partition('-'), 'abc'.rpartition('-')
'7'.zfill(3), '-7'.zfill(4), 'a'.center(4) ~ '|', 'ab'.center(5, '*'), 'a'.ljust(3, '.') ~ '|', 'a'.rjust(3), 'a\tb'.expandtabs(4)
'abc'.isalpha(), 'a1'.isalnum(), '12'.isdigit(), '²'.isdigit(), '²'.isdecimal(), '½'.isnumeric(), 'abc'.islower(), 'ABC'.isupper(), ' \t'.isspace(), 'Ab Cd'.istitle(), 'a b'.isprintable(), 'é'.isascii(), 'a_1'.isidentifier(), ''.isalpha()
'prefix-x'.removeprefix('prefix-'), 'x.txt'.removesuffix('.txt'), 'abc'.removesuffix('')
'abc'.nope is defined, 'abc'.nope
'abc'.nope()
[1, 2, 1].count(1), [1, 2].index(2), (1, 2).index(1), [1].copy(), {'a': 1}.copy()
[1].append(2)
[1].index(5)
[3, 1].sort()
(5).bit_length(), 2.0.is_integer(), (2.5).is_integer(), n.real, n.imag, n.numerator
range(3) | list, range(1, 4) | list, range(5, 0, -2) | list, range(3), range(1, 5, 2), range(0) | list
range(100001)
range(1.5)
range(1, 2, 0)
dict(a=1, b=2), dict({'a': 1}, b=2), dict([('a', 1)]), dict()
namespace(a=1).a, namespace({'b': 2}).b, namespace(a=1), namespace().x is defined
namespace(_a=1)
joiner('|')() ~ 'x', cycler('a', 'b').next(), cycler('a', 'b').current
cycler()
lipsum is defined, lipsum is callable, range is callable, n is callable, text.upper is callable, missing is callable
raise_exception('told')
strftime_now('%Y-%m-%d %H:%M:%S %j %U %W %w %a %A %b %B %p %I %y %e %-d %C %D %F %G %V %g %h %n%t%R %T %u %x %X %c %% %k %l %P %r|')
1 is odd, 2 is even, 6 is divisibleby 3, 6 is divisibleby(4), -1 is odd, 2.0 is even
'a' is odd
n is defined, missing is undefined, nothing is none, nothing is not none
yes is boolean, 1 is boolean, yes is true, 1 is true, no is false, 0 is false
1 is integer, 1.0 is integer, yes is integer, 1.0 is float, 1 is float, 1 is number, yes is number, 'a' is number
'abc' is lower, 'ABC' is upper, 'Abc' is lower, '' is lower, 1 is lower
'a' is string, 1 is string, user is mapping, [] is mapping, 'a' is sequence, [] is sequence, user is sequence, n is sequence, nothing is sequence
'a' is iterable, none is iterable, 5 is iterable, [] is iterable, missing is iterable, range(3) is iterable, user is iterable
1 is sameas 1, yes is sameas true, none is sameas none, [] is sameas []
'a' is escaped, ('a'|safe) is escaped, 1 is in [1, 2], 'z' is in 'abc', 1 is eq 1, 1 is equalto 2, 1 is ne 2, 2 is gt 1, 2 is greaterthan 1, 2 is ge 2, 1 is lt 2, 1 is lessthan 2, 1 is le 1
'upper' is filter, 'nope' is filter, 'odd' is test, 'nope' is test
n is divisibleby(0)
1 is not defined is not true
n is nosuchtest
n | nosuchfilter
'x' if yes else (n | nosuchfilter)
negative | abs, x | abs, 'a' | length, numbers | length, user | count, missing | length
n | length
nothing | length
'a' | abs
user | attr('name'), user | attr('nope') is defined, text | attr('upper') is callable, n | attr('real')
numbers | batch(2) | list, numbers | batch(2, 'x') | list, numbers | batch(10) | list, 'abc' | batch(2) | list
numbers | slice(2) | list, numbers | slice(3, 'x') | list, numbers | slice(7) | list
'heLLo wOrld' | capitalize, 'éa' | capitalize, 1 | capitalize
'a' | center(5) ~ '|', 'ab' | center(width=5) ~ '|'
missing | default('d'), missing | d, '' | default('d'), '' | default('d', true), '' | default('d', boolean=true), nothing | default('d'), 0 | default(default_value=5, boolean=true), missing | default
pairs | dictsort, pairs | dictsort(true), pairs | dictsort(by='value'), pairs | dictsort(reverse=true), pairs | dictsort(false, 'value', true)
pairs | dictsort(by='x')
text | escape, text | e, '<' | escape | escape, '<' | e | forceescape, 1 | e, [1, '<'] | e
'<a>' | safe, ('<a>' | safe) ~ '<b>', ('<a>' | safe) + '<b>', '<b>' + ('<a>' | safe), ('<a>' | safe) * 2, ['<' | safe], ('<a>' | safe) | upper, ('%s' | safe) % '<', ('{}' | safe).format('<'), ('<' | safe).join(['>', '<']), ('a<b' | safe).replace('<', '>'), ('<a>' | safe)[1:]
['<', '>' | safe] | join('&'), ['a'] | join('<' | safe), '<' | safe | string, ('<' | safe) == '<', ('a b' | safe).split()
1 | filesizeformat, 999 | filesizeformat, 1000 | filesizeformat, 123456789 | filesizeformat, 1024 | filesizeformat(true), 1e30 | filesizeformat, '5' | filesizeformat, 0 | filesizeformat, 1536 | filesizeformat(binary=true)
numbers | first, numbers | last, '' | first is defined, 'abc' | first, 'abc' | last, [] | last is defined, user | first, range(3) | last
5 | first
(numbers | select) | last
'3.7' | float, 'x' | float, 'x' | float(1.5), 3 | float, none | float, '1e5' | float, ' 2 ' | float, '1_000' | float, 'nan' | float, 'inf' | float, true | float, 'x' | float(default='d')
'%s-%s' | format(1, 2), '%(a)s' | format(a=1), '%.2f' | format(x), 'x' | format
'%s' | format
users | groupby('city'), users | groupby('city', case_sensitive=true), users | groupby('age', default=0)
users | groupby('age')
text | indent, text | indent(2), text | indent(2, true), text | indent(2, first=true, blank=true), 'a\nb' | indent('> '), 'a\n\nb\n' | indent(width=1, blank=true), '' | indent, 'x' | indent(first=true)
5 | indent
'42' | int, '4.7' | int, 'x' | int, 'x' | int(-1), '0x1F' | int(base=16), '1F' | int(0, 16), '101' | int(base=2), '0b11' | int(0, 2), 3.9 | int, -3.9 | int, none | int, true | int, '1_000' | int, ' 7 ' | int, '' | int, 'z' | int(default=9), 1e5 | int, '1e3' | int, [] | int
missing | int
numbers | join, numbers | join(', '), users | join(', ', attribute='name'), floats | join('|'), mixed | join('/'), 'abc' | join('-'), [] | join, user | join(','), numbers | join(d='+')
n | join
users | map(attribute='name') | list, users | map(attribute='age', default=0) | list, letters | map('upper') | list, letters | map('replace', 'a', 'x') | list, users | map(attribute='name') | map('lower') | join, [[1, 2], [3]] | map('first') | list, [] | map('nope') | list, users | map(attribute='address.city', default='?') | list, [[1, 2]] | map(attribute=0) | list
letters | map('nope') | list
letters | map
letters | map | list
letters | map(foo=1) | list
numbers | max, numbers | min, letters | max, letters | min, letters | max(case_sensitive=true), users | min(attribute='name'), [] | max is defined, users | selectattr('age') | max(attribute='age'), 'hello' | max
mixed | max
mixed | pprint, users | pprint, user | pprint, text | pprint, 'short' | pprint, [1.0] | pprint, words | pprint, (words * 3) | pprint, {'k': words * 2, 'a': [1, 2]} | pprint, range(3) | pprint, [] | pprint, (numbers * 12) | pprint
[] | random is defined, [7] | random
numbers | reject('odd') | list, numbers | reject | list, users | rejectattr('age') | map(attribute='name') | list, users | rejectattr('name', 'eq', 'Ann') | map(attribute='name') | list
numbers | select | list, numbers | select('>', 1) | list, numbers | select('divisibleby', 3) | list, mixed | select('string') | list, users | selectattr('age', 'defined') | map(attribute='name') | list, users | selectattr('city', 'equalto', 'Bern') | list | length, users | selectattr('age') | list | length, letters | select('in', 'abc') | list
numbers | select('nope') | list
users | selectattr | list
text | replace('l', 'L'), text | replace('l', 'L', 1), 'aaa' | replace('a', 'b', count=2), 123 | replace(2, 'x'), 'a' | replace('', '-')
'a' | replace('a')
'abc' | reverse, numbers | reverse | list, user | reverse | list, (numbers | map('string')) | reverse | list, range(3) | reverse | list
5 | reverse
x | round, x | round(1), 2.5 | round, 3.5 | round, -2.5 | round, 42.55 | round(1), 42 | round, 1234 | round(-2), 1250 | round(-2), 1250.0 | round(-2), 42.1 | round(0, 'ceil'), 42.55 | round(1, 'floor'), 42 | round(0, 'ceil'), 42.5 | round(method='ceil') | int, true | round, 2.675 | round(2), 1e16 | round, 0.5 | round, 1.005 | round(2)
x | round(1, 'nope')
'a' | round
numbers | sort, numbers | sort(true), letters | sort, letters | sort(case_sensitive=true), users | sort(attribute='name') | map(attribute='name') | list, users | selectattr('age') | sort(attribute='age,name') | map(attribute='name') | list, users | sort(reverse=true, attribute='city') | map(attribute='name') | list, 'hello' | sort, [] | sort, [[2, 1], [1, 2]] | sort, users | sort(attribute='city,name') | map(attribute='name') | join
mixed | sort
1 | string, 1.0 | string, none | string, [1.0, 'a'] | string, true | string, missing | string, {'a': 1} | string, big | string
text | striptags, '<p>a&amp;b</p>  <!-- c --> d &lt;' | striptags, 'a < b' | striptags
numbers | sum, floats | sum, users | selectattr('age') | sum(attribute='age'), numbers | sum(start=10), [] | sum, [[1], [2]] | sum(start=[]), numbers | sum(none, 5)
letters | sum
"it's a well-known (fact) [x] {y} <z>" | title, 'ABC def' | title, 'éa ßb' | title, 'a\nb' | title
user | tojson, mixed | tojson, floats | tojson, text | tojson, odd | tojson, 'é' | tojson(ensure_ascii=true), user | tojson(indent=2), [] | tojson(indent=2), {} | tojson(indent=0), pairs | tojson(sort_keys=true), pairs | tojson(separators=(',', ':')), '<&>' | tojson, none | tojson, 1.0 | tojson, (1, 2) | tojson, {1: 2, none: 3, true: 4, 1.5: 5} | tojson, ('<' | safe) | tojson, user | tojson(indent='\t'), nan | tojson if no else 1
missing | tojson
range(3) | tojson
'  x ' | trim, 'xxax' | trim('x'), 5 | trim, none | trim, 'ab' | trim(chars='a')
words | truncate, words | truncate(20), words | truncate(20, true), words | truncate(20, false, '!'), words | truncate(20, end='…', leeway=0), words | truncate(62), words | truncate(58), 'x' | truncate(5), words | truncate(length=10, killwords=true, end='')
'abc' | truncate(2)
letters | unique | list, numbers | unique | list, letters | unique(true) | list, users | unique(attribute='city') | map(attribute='name') | list
[[1], [1]] | unique | list
'straße' | upper, 'ÉA' | lower, 1 | upper, none | upper, 'ΑΣ' | lower
'a b/ü?&' | urlencode, {'a b': 1, 'c': 'd/e'} | urlencode, [('x', 'y z')] | urlencode, 5 | urlencode, '~_-.' | urlencode
'see https://example.com/a?b=c, www.foo.org. mail me@x.org or mailto:a@b.co (http://x.net) <http://y.com> foo.com a.b' | urlize, 'http://example.com/long/path' | urlize(10), 'http://example.com' | urlize(nofollow=true), 'http://example.com' | urlize(target='_blank'), 'http://example.com' | urlize(rel='x'), 'ftp://a.b tel:1' | urlize(extra_schemes=['tel:', 'ftp://'])
text | wordcount, '' | wordcount, "a-b it's é1_" | wordcount
words | wordwrap(20), words | wordwrap(10, false), words | wordwrap(7), 'averyverylongword here' | wordwrap(5), 'a\n\nb c' | wordwrap(3), words | wordwrap(20, wrapstring='<br>'), words | wordwrap(12, break_on_hyphens=false), 'one--two three' | wordwrap(6), '  lead' | wordwrap(4)
words | wordwrap(0)
{'class': 'a b', 'id': none, 'x': '<"', 'n': 1} | xmlattr, {} | xmlattr, {'a': 1} | xmlattr(false), {'a': missing} | xmlattr
{'a b': 1} | xmlattr
pairs | items | list, missing | items | list
5 | items | list
numbers | list, 'abc' | list, user | list, none | list if no else 1
none | list
5 | list
numbers | items
user.address | items | list, user.tags | join, user.tags.0
[1, 2] | length + 1, (1, 2) | length, 'a' ~ 'b' | upper, ('a' ~ 'b') | upper, -1 | string
1 + 2 | string
1 is == 1
'abc' | upper | lower | title, 'a' is string and 1 is number, not 'a' is number, 'x' is in(['x'])
numbers | sort | reverse | join(','), users | map(attribute='name') | sort | join(',')
user.name | default('x'), user.nope.nope | default('x') if no else 1, (user.nope).x | default('y') if no else 2
'a' if missing else 'b', [x for x in y] if no else 1
{'a': {'b': {'c': 1.0}}}.a.b.c, {'a-b': 1}['a-b'], [[1, 2], [3, 4]][1][0], 'abc'[1].upper()
'ab'.upper().lower()[0] ~ 'x' * 2, (1, 2, 3) | sum, {'k': 1}.k + 1, [1, 2, 3][1:] | first
text | upper | replace('L', 'l') | trim | length, '%s' | format(x | round(1)), 'a,b' | replace(',', ';') ~ '!'
users[0].name[0], users[-1]['name'], users | length > 3, users[0].get('age') + 1
1 ~ 2 == '12', 1 + 1 == 2 and 2 * 2 == 4, not 1 == 2, 1 is odd == true
"\u00e9" == "é", '\x41' == 'A', "a\
b"
+1, - -1, not not yes, 1 if 1 if 0 else 1 else 2
""".strip("\n").replace("\\\nb\"", "\\\\b\"").split("\n")

STATEMENTS = [
    "{% for i in numbers %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}"
    "{{ loop.length }}{{ loop.previtem }}|{{ loop.nextitem }};{% endfor %}",
    "{% for c in text[:5] %}{{ c }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }} {% endfor %}",
    "{% for k in user %}{{ k }}{{ loop.index }},{% endfor %}{% for k, v in user.items() %}{{ k }}={{ v }},{% endfor %}",
    "{% for k, v in pairs|dictsort %}{{ k }}{{ v }}{% endfor %}{% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}-{{ b }};{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}", "{% for a, b in [1] %}{{ a }}{% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for i in none %}x{% else %}y{% endfor %}", "{% for i in 5 %}x{% endfor %}", "{% for i in missing %}x{% else %}empty{% endfor %}",
    "{% for i in [] %}x{% else %}empty{{ i is defined }}{% endfor %}", "{% for i in numbers if i > 1 %}{{ i }}{{ loop.index }}/{{ loop.length }} {% else %}no{% endfor %}",
    "{% for i in numbers if i > 100 %}{{ i }}{% else %}none over 100{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in [1,2] %}{% for j in [3,4] %}{{ loop.index }}{{ i }}{{ j }}{% if j == 3 %}{% continue %}{% endif %}!{% endfor %}{{ loop.last }}{% endfor %}",
    "{% break %}", "{% if yes %}{% continue %}{% endif %}", "{% for i in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for i in [1, 1, 2, 2, 1] %}{{ loop.changed(i) }}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for i in [1] %}{{ loop.cycle() }}{% endfor %}",
    "{% for t in tree recursive %}[{{ t.v }}@{{ loop.depth }}{{ loop.depth0 }}{{ loop(t.kids) }}]{% endfor %}",
    "{% for t in tree recursive %}{{ t.v }}{% if t.kids %}({{ loop(t.kids) }}){% else %}.{% endif %}{% else %}none{% endfor %}",
    "{% for i in [1] %}{{ loop([2]) }}{% endfor %}", "{% for i in [1, 2] %}{{ loop }}{% endfor %}", "{{ loop is defined }}", "{{ loop.index }}",
    "{% for i in numbers|map('string') %}{{ i }}{{ loop.last }}{{ loop.length }}{% endfor %}", "{% for loop in [1] %}{% endfor %}",
    "{% set g = numbers|map('string') %}{{ g|list }}{{ g|list }}", "{% set g = numbers|select('odd') %}{{ g|first }}{{ g|list }}",
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = i * 10 %}{{ x }},{% endfor %}{{ x }}",
    "{% for i in [1, 2] %}{{ y is defined }}{% set y = 1 %}{{ y }}{% endfor %}{{ y is defined }}",
    "{% if yes %}{% set a = 1 %}{% endif %}{{ a }}{% if no %}{% set n = 1 %}{% endif %}{{ n }}{% if no %}{% set zz = 1 %}{% endif %}{{ zz is defined }}",
    "{% set ns = namespace(found=false, n=0) %}{% for i in numbers %}{% set ns.n = ns.n + i %}{% if i == 2 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.n }}{{ ns.found }}{{ ns }}",
    "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}", "{% set user.name = 1 %}", "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% set ns = namespace(a=1) %}{% set ns.l = [ns] %}{{ ns }}{{ ns.l }}", "{% set missing.x = 1 %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% set (d, e) = [3, 4] %}{{ d }}{{ e }}", "{% set a, b = [1] %}", "{% set true = 1 %}", "{% set 'a' = 1 %}", "{% set a + b = 1 %}", "{% set a.b.c = 1 %}", "{% set a = %}",
    "{% set t %}a{{ 1.0 }}b{% endset %}[{{ t }}]{{ t|length }}{{ t is escaped }}", "{% set t | upper | replace('A', 'x') %}ab{% endset %}{{ t }}", "{% set t | length %}abc{% endset %}{{ t + 1 }}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% set a = 3 %}{{ a }}{% endwith %}{{ a is defined }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}", "{% set a = 5 %}{% with a = 1, b = a %}{{ b }}{% endwith %}", "{% with (a, b) = (1, 2) %}{{ b }}{% endwith %}",
    "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=4) }}{{ m() }}{{ m(b=1) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}{{ m() }}", "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro m(a, a) %}{% endmacro %}",
    "{% macro m() %}{{ caller() }}{{ caller(1) }}{% endmacro %}{% call m() %}x{% endcall %}", "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}in {{ n }}{% endcall %}{{ m() }}",
    "{% macro each(xs) %}{% for x in xs %}<{{ caller(x, loop.index) }}>{% endfor %}{% endmacro %}{% call(item, i) each(letters) %}{{ i }}{{ item|upper }}{% endcall %}", "{% macro m() %}{{ caller(1) }}{% endmacro %}{% call(a, b=5) m() %}{{ a }}{{ b }}{% endcall %}", "{% call 5 %}{% endcall %}",
    "{% macro m(a) %}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.catch_kwargs }}{{ m.catch_varargs }}{{ m.caller }}{{ m }}{{ m is callable }}", "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% set x = 1 %}{% macro f() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ f() }}{% for x in [3] %}{{ f() }}{% endfor %}",
    "{% macro f() %}{{ tools }}{% endmacro %}{{ f() }}", "{% macro f() %}{{ n }}{% endmacro %}{{ f() }}{% set n = 1 %}{{ f() }}", "{% macro f() %}{% set zz = 1 %}{{ zz }}{% endmacro %}{{ f() }}{{ zz is defined }}", "{% macro f(*a) %}{% endmacro %}", "{{ m(1) }}{% macro m(a) %}{% endmacro %}",
    "{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{'a': 1, 'b': 2}) }}{{ f(1, *[2]) }}{{ f(*[1], b=2) }}", "{{ dict(**5) }}", "{{ range(*[1, 3])|list }}{{ dict(a=1, **{'b': 2}) }}", "{{ dict(a=1, a=2) }}", "{{ dict(a=1, **{'a': 2}) }}",
    "{% filter upper %}a{{ n }}b{% endfilter %}{% filter indent(2) | upper %}a\nb{% endfilter %}", "{% filter nope %}a{% endfilter %}", "{% filter replace('a', 'b') %}{% for i in [1, 2] %}a{{ i }}{% endfor %}{% endfilter %}",
    "{% raw %}{{ x }}{% if %}{# c #}{% endraw %}!", "a {%- raw -%}  {{ x }}  {%- endraw -%}  b", "{% raw %}\n{{ x }}\n{% endraw %}\nend", "{% raw %}x", "  {% raw %}a{% endraw %}  ", "{%raw%}a{%endraw%}",
    "{# comment #}a{#- x -#} b {#\nmulti\n#}\nc", "{# x", "a\n  {# c #}\nb", "{##}x{#-#} y",
    "a\n  {% if yes %}\n    b\n  {% endif %}\nc\n", "a\n  {%+ if yes %}b{% endif +%}\n c", "a  {%- if yes -%}  b  {%- endif -%}  c", " {{- 1 -}} x {{ 2 -}}\n y", "x {% if yes %} y {% endif %} z", "\n\n{% if yes %}\n\nx\n\n{% endif %}\n\n", "a\r\nb\rc\n{% set x = 1 %}\r\nd", "{% if yes -%}\n  x\n{%- else -%}\ny{% endif %}", "\t{% if yes %}\tx{% endif %}\t\n", "a\n", "a\n\n", "", "\n", "   {{ n }}   \n  {% set q = 1 %}  \n", "{{ '\n' }}a\n  {%- set q = 1 %}\n  b", "{%- if yes +%}\nx{% endif %}",
    "{% if n == 42 %}a{% elif yes %}b{% else %}c{% endif %}{% if no %}a{% elif n %}b{% else %}c{% endif %}{% if no %}a{% elif nothing %}b{% else %}c{% endif %}", "{% if 1, 2 %}x{% endif %}", "{% if %}x{% endif %}", "{% if yes %}x", "{% endif %}", "{% else %}", "{% unknown %}", "{% if yes %}{% endfor %}", "{{ }}", "{{ 1", "{% if yes", "{{ 1 } }}", "{{ (1 }}", "{{ 1) }}", "{{ [1, }}", "{{ {1} }}", "{{ a b }}", "{{ 'a }}", "{{ 1 2 }}", "{{ $ }}", "{{ a..b }}", "{{ a. }}", "{{ a[ ] }}", "{{ |upper }}", "{{ x| }}", "{{ x is }}", "{{ not }}", "{{ 1 + }}", "{{ 1 if }}", "{{ f(a=1, 2) }}", "{{ f(*a, *b) }}", "{{ f(**a, *b) }}", "{{ x if }}", "{{ ! x }}", "{{ x = 1 }}", "{{ 08 }}", "{{ 1.foo }}", "{{ x is a is b }}", "{{ 1..real }}", "{{ 'a' 'b' }}{{ [1,] }}{{ (1,) }}{{ {'a': 1,} }}{{ dict(a=1,) }}",
    "{% for i in 1, 2 %}{{ i }}{% endfor %}", "{% for i in [1, 2] if yes else [] %}{% endfor %}", "{% for i in ([1] if yes else []) %}{{ i }}{% endfor %}", "{% print 1, 2 %}{% print n %}", "{% do 1 %}", "{{ super() }}",
    "{% block a %}x{{ n }}{% endblock %}{{ self.a() }}", "{% set q = 5 %}{% block a %}{{ q }}{% endblock a %}", "{% for i in [1, 2] %}{% block b scoped %}{{ i }}{% endblock %}{% endfor %}", "{% for i in [1, 2] %}{% block b %}[{{ i }}]{% endblock %}{% endfor %}", "{% block a %}{% endblock %}{% block a %}{% endblock %}", "{% block a required %}{% endblock %}",
    "{% include 'x' %}", "{% include 'x' ignore missing %}", "{% import 'x' as y %}", "{% from 'x' import y %}", "{% extends 'x' %}", "{% if no %}{% include 'x' %}{% import 'a' as b %}{% from 'x' import y as z, w with context %}{% endif %}ok",
    "{% autoescape true %}{{ '<' }}{{ '<'|safe }}{{ words[:1] ~ ('>'|safe) }}{% set t %}<{{ '<' }}{% endset %}{{ t }}{{ ['<', '>'|safe]|join('&') }}{{ '<'|replace('<', '&') }}{{ {'a': '<'}|xmlattr }}{% endautoescape %}{{ '<' }}", "{% autoescape false %}{{ '<' }}{% endautoescape %}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}{% set j = joiner() %}{% for i in [1, 2, 3] %}{{ j() }}{{ i }}{% endfor %}", "{% set j = joiner('; ') %}{{ j() }}a{{ j() }}b{{ j() }}",
    "{% generation %}a{{ n }}{% endgeneration %}b", "{% for m in [1, 2] %}{%- generation %}{% set q = m %}{{ q }}{{ loop.index }}{%- endgeneration %}{% endfor %}{{ q is defined }}", "{% for i in [1] %}{% generation %}{% break %}{% endgeneration %}{% endfor %}", "{% generation %}x",
    "{% for i in [1] %}{{ x|nosuch }}{% endfor %}", "{% if no %}{{ x|nosuch }}{{ x is nosuch }}{% endif %}ok", "{% if no %}{% for i in [] %}{{ x|nosuch }}{% endfor %}{% endif %}", "{% set m = user %}{{ m.name }}{% set m = dict(m, name='Z') %}{{ m.name }}{{ user.name }}",
    "{% set messages = messages[1:] %}{{ messages|length }}{% for m in messages %}{{ m.role }}{% endfor %}", "{{ messages[0]['content'] }}{{ messages[0].content is string }}{{ messages[-1].role }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content']|trim %}{% else %}{% set first = '' %}{% endif %}[{{ first }}]",
    "{%- for message in messages %}\n{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{- raise_exception('order') }}{%- endif %}\n{{- message.role + ': ' + message.content|trim }}\n{% endfor %}",
    "{% if tools is iterable and tools | length > 0 %}{{ tools | tojson(indent=4) }}{% endif %}{% if nothing is iterable %}x{% endif %}", "{{ '%d tools' % tools|length }}{{ tools[0].parameters.type }}{{ tools|map(attribute='name')|join }}", "{{ namespace }}", "{{ range }}", "{{ text.upper }}", "{{ numbers|map('string') }}", "{{ cycler('a') }}",
    "{{ a.b }}", "{{ a.b is defined }}", "{{ user.a.b is defined }}", "{{ user.a is defined }}", "{% set x %}{% endset %}[{{ x }}]{{ x is defined }}", "{{ user['na' ~ 'me'] }}{{ user[missing] is defined }}{{ pairs[n] is defined }}", "{{ [1, 2, 3].__len__() }}", "{{ ''.__class__ }}", "{{ ''.__class__.__mro__ }}", "{{ ().__class__ is defined }}",
    "{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}{{ {'a': 1}.items() }}{{ {'a': 1}.keys() }}{{ {'a': 1}.values() }}{{ {'a': 1}.items()|list }}{{ 'a' in {'a': 1}.keys() }}{{ {'a': 1}.keys()|list == ['a'] }}",
    "{% for x in range(3) %}{% for y in range(x) %}{{ loop.index }}{{ x }}{{ y }}{% else %}-{% endfor %}{% endfor %}", "{% set d = {} %}{% for i in [1, 2] %}{% set d = dict(d, **{i|string: i}) %}{{ d }}{% endfor %}{{ d }}",
    "{%- macro render(item, depth=0) -%}\n{{- '  ' * depth ~ item.v }}\n{% for kid in item.kids %}{{ render(kid, depth + 1) }}{% endfor %}\n{%- endmacro -%}\n{% for t in tree %}{{ render(t) }}{% endfor %}",
    "{% set x = 5 if yes else 6 %}{{ x }}{% set y = 1 if no %}{{ y is defined }}[{{ y }}]", "{{ 1 if no }}{{ (1 if no).x }}", "{{ 'a' if no else missing }}", "{{ [missing, none, ''] }}{{ [missing]|tojson if no }}", "{{ {'a': missing} }}", "{{ missing|default({})|length }}",
]


def templates() -> list[str]:
    return ["{{ (" + line + ") }}" if "," in line and not line.startswith("{") else "{{ " + line + " }}"
            for line in EXPRESSIONS] + STATEMENTS
