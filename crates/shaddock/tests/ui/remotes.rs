//! What a remote can't have.

#[shaddock::remote]
trait NoKind {
    async fn note(&self) -> shaddock::Result<()>;
}

#[shaddock::remote("chat")]
trait Wrong {
    fn not_async(&self) -> shaddock::Result<()>;
    async fn no_result(&self) -> u32;
    async fn borrows(&self, name: &str) -> shaddock::Result<()>;
    async fn changes(&mut self) -> shaddock::Result<()>;
    #[oneway]
    async fn answers(&self) -> shaddock::Result<u32>;
    async fn generic<T>(&self, value: T) -> shaddock::Result<()>;
}

fn main() {}
