from train.tokenizer import train_tokenizer


def test_a_word_is_the_same_token_wherever_it_stands():
    tokenizer = train_tokenizer(["Oak desk, oak lamp: colour: red"] * 5, 400)
    first, second = tokenizer("Oak")["input_ids"], tokenizer("a red OAK!")["input_ids"]
    assert len(first) == 1
    assert first[0] in second


def test_no_text_is_unknown_to_the_tokenizer():
    tokenizer = train_tokenizer(["oak"], 320)
    assert tokenizer.decode(tokenizer("żółw 😀")["input_ids"]).replace(" ", "") == "żółw😀"
