package mount

import "testing"

func TestAnOverlayStandsOnItsDirectories(t *testing.T) {
	for options, want := range map[string]bool{
		"rw,lowerdir=/home/a:/home/b,upperdir=/home/c/diff,workdir=/home/c/work": true,
		"ro,lowerdir=/else/a:/home/b":                                            true,
		"rw,lowerdir=/else/a,upperdir=/home/c/diff":                              true,
		"rw,lowerdir+=/home/a":                                                   true,
		"rw,lowerdir=/else/a,upperdir=/else/home/c":                              false,
		"rw,lowerdir=/homes/a":                                                   false,
		"rw":                                                                     false,
	} {
		if got := usesDirBelow(options, "/home"); got != want {
			t.Errorf("%s: %v", options, got)
		}
	}
}
