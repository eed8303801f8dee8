package versions

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]Version{
		"2.3.9-0+deb13u1": {2, 3, 9}, "6.12.107+deb13-cloud-amd64": {6, 12, 107}, "6.8": {6, 8}, "2.4": {2, 4},
		"6.8-rc1": {6, 8}, "2.2.99-1": {2, 2, 99}, "2.3.": {2, 3}, "2.2rc4": {2, 2}, "28.0.1": {28, 0, 1}, "5.10.0.1": {5, 10},
	} {
		if got, ok := Parse(text); !ok || got != want {
			t.Errorf("Parse(%q) = %v, %v; want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "2", "2.", "v2.3", "-1.2", ".1.2", "two.3", "99999999999999999999.1"} {
		if got, ok := Parse(text); ok {
			t.Errorf("Parse(%q) = %v; want a refusal", text, got)
		}
	}
}

func TestIsBefore(t *testing.T) {
	order := []Version{{2, 1, 99}, {2, 2, 0}, {2, 2, 1}, {2, 10, 0}, {3, 0, 0}}
	for i, a := range order {
		for j, b := range order {
			if got := a.IsBefore(b); got != (i < j) {
				t.Errorf("%v before %v: %v", a, b, got)
			}
		}
	}
}

func TestKernelRelease(t *testing.T) {
	text, err := KernelRelease()
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := Parse(text); !ok || v.IsBefore(Version{3, 0, 0}) {
		t.Errorf("the kernel's release is %q", text)
	}
}
