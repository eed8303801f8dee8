package fault

import "testing"

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"": "", `a "name" of Größe 1`: `a "name" of Größe 1`, "\x1b[2J": `"\x1b[2J"`, "a\nb": `"a\nb"`, "\xff": `"\xff"`,
		"\u202eright to left": `"\u202eright to left"`, "\u009b1m": `"\u009b1m"`,
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
