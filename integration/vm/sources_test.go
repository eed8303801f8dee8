package vm

import (
	"reflect"
	"testing"
)

func TestDebianMirrors(t *testing.T) {
	const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	tests := map[string]struct {
		file, text string
		want       []Mirror
	}{
		"deb822": {
			file: "debian.sources",
			text: "Types: deb\n# a comment\nURIs: http://mirror.invalid/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: " + keyring +
				"\n\nTypes: deb\nURIs: http://mirror.invalid/debian-security\nSuites: bookworm-security\nComponents: main\nSigned-By: " + keyring + "\n",
			want: []Mirror{{"http://mirror.invalid/debian", keyring}},
		},
		"one line": {
			file: "sources.list",
			text: "# deb http://old.invalid/debian bookworm main\ndeb-src http://mirror.invalid/debian bookworm main\n" +
				"deb [arch=amd64 signed-by=" + keyring + "] http://mirror.invalid/debian/ bookworm main contrib\n",
			want: []Mirror{{"http://mirror.invalid/debian", keyring}},
		},
		"no keyring named": {
			file: "sources.list",
			text: "deb http://mirror.invalid/debian bookworm main\n",
			want: []Mirror{{"http://mirror.invalid/debian", ""}},
		},
		"a snapshot, signed by Debian": {
			file: "sources.list",
			text: "deb [signed-by=" + keyring + "] http://mirror.invalid/archive/debian/20250520T000000Z bookworm main\n",
			want: []Mirror{{"http://mirror.invalid/archive/debian/20250520T000000Z", keyring}},
		},
		"another release only": {
			file: "sources.list",
			text: "deb http://mirror.invalid/debian trixie main\n",
			want: []Mirror{{"http://mirror.invalid/debian", ""}},
		},
		"the host's release is preferred": {
			file: "sources.list",
			text: "deb http://other.invalid/debian trixie main\ndeb http://mirror.invalid/debian bookworm main\n",
			want: []Mirror{{"http://mirror.invalid/debian", ""}},
		},
		"third parties": {
			file: "third.sources",
			text: "Types: deb\nURIs: https://third.invalid/node\nSuites: nodistro\nComponents: main\nSigned-By: /usr/share/keyrings/third.gpg\n\n" +
				"Types: deb\nURIs: https://third.invalid/linux/debian\nSuites: bookworm\nComponents: stable\n",
		},
		"disabled": {
			file: "debian.sources",
			text: "Enabled: no\nTypes: deb\nURIs: http://mirror.invalid/debian\nSuites: bookworm\nComponents: main\n",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := debianMirrors(parseSources(test.file, test.text), "bookworm")
			if len(got)+len(test.want) > 0 && !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
