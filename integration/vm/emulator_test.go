package vm

import "testing"

func TestParseQEMUVersion(t *testing.T) {
	tests := map[string]struct {
		line  string
		sound bool
	}{
		"bookworm":           {"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright", false},
		"just before":        {"QEMU emulator version 8.0.5", false},
		"the first":          {"QEMU emulator version 8.1.0", true},
		"two digits":         {"QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)", true},
		"nothing to be read": {"command not found", false},
	}
	for name, test := range tests {
		if sound := !parseQEMUVersion(test.line).before(soundQEMU); sound != test.sound {
			t.Errorf("%s: sound %t, want %t", name, sound, test.sound)
		}
	}
}
