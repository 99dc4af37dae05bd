// Gives the library a soname, so that programs look it up by name and not by the path it had when
// they were linked.
fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libtrainyard_text.so");
    println!("cargo:rerun-if-changed=build.rs");
}
