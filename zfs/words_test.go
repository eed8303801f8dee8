package zfs

import "testing"

func TestWords(t *testing.T) {
	for property, all := range words {
		for n, word := range all {
			if word == noWord {
				continue
			}
			if got, ok := ParseWord(property, word); !ok || got != uint64(n) {
				t.Errorf("%s=%s is %d, %v; want %d", property, word, got, ok, n)
			}
			if got := Word(property, uint64(n)); got != word {
				t.Errorf("%s %d is %q, want %q", property, n, got, word)
			}
		}
	}
	for word, want := range map[string]uint64{"gzip": 10, "zstd-1": 16 | 1<<7, "zstd-19": 16 | 19<<7} {
		if got, ok := ParseWord("compression", word); !ok || got != want {
			t.Errorf("compression=%s is %d, %v; want %d", word, got, ok, want)
		}
	}
	for _, word := range []string{"", noWord, "gzip-0", "gzip-10", "zstd-0", "zstd-20", "zstd-01", "zstd-", "lz4-1", "inherit"} {
		if got, ok := ParseWord("compression", word); ok {
			t.Errorf("compression=%q is %d, want none", word, got)
		}
	}
	if Word("compression", 0) != "" || Word("compression", 99) != "" || Word("mountpoint", 0) != "" {
		t.Error("a number without a word has one")
	}
}
